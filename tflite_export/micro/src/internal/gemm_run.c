#include "internal/gemm.h"

/* 3 pixels x 8 channels: 24 sums, 3 sources and a weight stay in the 32 registers of a single-precision FPU, and 24
 * multiply-adds share 11 loads. */

#define EACH8(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#define EACH4(DO) DO(0) DO(1) DO(2) DO(3)

#define BEGIN3(j) float a##j = start0[j], b##j = start1[j], c##j = start2[j];
#define STEP3(j)                                 \
  {                                              \
    const float weight = panel[j];               \
    a##j = TINYTL_MULTIPLY_ADD(a##j, x0, weight); \
    b##j = TINYTL_MULTIPLY_ADD(b##j, x1, weight); \
    c##j = TINYTL_MULTIPLY_ADD(c##j, x2, weight); \
  }
#define END3(j) out0[j] = a##j, out1[j] = b##j, out2[j] = c##j;

#define BEGIN1(j) float a##j = start[j];
#define STEP1(j) a##j = TINYTL_MULTIPLY_ADD(a##j, x0, panel[j]);
#define END1(j) out[j] = a##j;

#define DEFINE_BLOCK3(NAME, EACH)                                                                              \
  static void NAME(const tinytl_internal_gemm *gemm, const tinytl_internal_run *run, const float *source,      \
                   const float *start0, const float *start1, const float *start2, float *out0, float *out1,    \
                   float *out2) {                                                                              \
    const int32_t depth = gemm->depth;                                                                         \
    const tinytl_internal_tap *tap = run->taps, *const end = tap + run->tap_count;                             \
    const ptrdiff_t step = run->source_step;                                                                   \
    EACH(BEGIN3)                                                                                               \
    for (; tap != end; ++tap) {                                                                                \
      const float *source0 = source + tap->source, *source1 = source0 + step, *source2 = source1 + step;       \
      const float *const source_end = source0 + depth;                                                         \
      const float *panel = gemm->panel + tap->panel;                                                           \
      do {                                                                                                     \
        const float x0 = *source0++, x1 = *source1++, x2 = *source2++;                                         \
        EACH(STEP3)                                                                                            \
        panel += TINYTL_PANEL_WIDTH;                                                                           \
      } while (source0 != source_end);                                                                         \
    }                                                                                                          \
    EACH(END3)                                                                                                 \
  }

#define DEFINE_BLOCK1(NAME, EACH)                                                                         \
  static void NAME(const tinytl_internal_gemm *gemm, const tinytl_internal_run *run, const float *source, \
                   const float *start, float *out) {                                                      \
    const int32_t depth = gemm->depth;                                                                    \
    const tinytl_internal_tap *tap = run->taps, *const end = tap + run->tap_count;                        \
    EACH(BEGIN1)                                                                                          \
    for (; tap != end; ++tap) {                                                                           \
      const float *source0 = source + tap->source;                                                        \
      const float *const source_end = source0 + depth;                                                    \
      const float *panel = gemm->panel + tap->panel;                                                      \
      do {                                                                                                \
        const float x0 = *source0++;                                                                      \
        EACH(STEP1)                                                                                       \
        panel += TINYTL_PANEL_WIDTH;                                                                      \
      } while (source0 != source_end);                                                                    \
    }                                                                                                     \
    EACH(END1)                                                                                            \
  }

DEFINE_BLOCK3(block_3x8, EACH8)
DEFINE_BLOCK1(block_1x8, EACH8)
DEFINE_BLOCK3(block_3x4, EACH4)
DEFINE_BLOCK1(block_1x4, EACH4)

/* Blocks of a width that is neither 8 nor 4: through a buffer of a full row, one pixel at a time. */
static void block_1xn(const tinytl_internal_gemm *gemm, const tinytl_internal_run *run, const float *source,
                      const float *start, float *out) {
  float row[TINYTL_PANEL_WIDTH] = {0};
  for (int32_t j = 0; j < gemm->width; ++j) row[j] = start[j];
  if (gemm->width > 4) {
    block_1x8(gemm, run, source, row, row);
  } else {
    block_1x4(gemm, run, source, row, row);
  }
  for (int32_t j = 0; j < gemm->width; ++j) out[j] = row[j];
}

static void block_3xn(const tinytl_internal_gemm *gemm, const tinytl_internal_run *run, const float *source,
                      const float *start0, const float *start1, const float *start2, float *out0, float *out1,
                      float *out2) {
  float row[3][TINYTL_PANEL_WIDTH] = {{0}};
  for (int32_t j = 0; j < gemm->width; ++j) row[0][j] = start0[j], row[1][j] = start1[j], row[2][j] = start2[j];
  if (gemm->width > 4) {
    block_3x8(gemm, run, source, row[0], row[1], row[2], row[0], row[1], row[2]);
  } else {
    block_3x4(gemm, run, source, row[0], row[1], row[2], row[0], row[1], row[2]);
  }
  for (int32_t j = 0; j < gemm->width; ++j) out0[j] = row[0][j], out1[j] = row[1][j], out2[j] = row[2][j];
}

void tinytl_internal_gemm_run(const void *context, const tinytl_internal_run *run) {
  const tinytl_internal_gemm *const gemm = context;
  const int32_t width = gemm->width;
  const ptrdiff_t step = run->destination_step;
  const float *source = gemm->source;
  float *out = gemm->destination + run->destination;
  const float *start = gemm->start ? gemm->start : out;
  const ptrdiff_t start_step = gemm->start ? 0 : step;
  int32_t left = run->count;
  for (; left >= 3; left -= 3) {
    const float *const start1 = start + start_step, *const start2 = start1 + start_step;
    float *const out1 = out + step, *const out2 = out1 + step;
    if (width == 8) {
      block_3x8(gemm, run, source, start, start1, start2, out, out1, out2);
    } else if (width == 4) {
      block_3x4(gemm, run, source, start, start1, start2, out, out1, out2);
    } else {
      block_3xn(gemm, run, source, start, start1, start2, out, out1, out2);
    }
    source += 3 * (ptrdiff_t)run->source_step;
    start += 3 * start_step;
    out += 3 * step;
  }
  for (; left > 0; --left) {
    if (width == 8) {
      block_1x8(gemm, run, source, start, out);
    } else if (width == 4) {
      block_1x4(gemm, run, source, start, out);
    } else {
      block_1xn(gemm, run, source, start, out);
    }
    source += run->source_step;
    start += start_step;
    out += step;
  }
}
