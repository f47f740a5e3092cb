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

/* Where a run's pixels are: the next one's source, start and destination, and the steps to the one behind it. */
typedef struct cursor {
  const float *source, *start;
  float *out;
  ptrdiff_t source_step, start_step, out_step;
} cursor;

/* `count` times 3 pixels, from the cursor on. */
#define DEFINE_RUN3(NAME, EACH)                                                                               \
  static void NAME(const tinytl_internal_gemm *gemm, const tinytl_internal_run *run, const cursor *at,        \
                   int32_t count) {                                                                           \
    const tinytl_internal_tap *const end = run->taps + run->tap_count;                                        \
    const float *source = at->source, *start0 = at->start;                                                    \
    float *out0 = at->out;                                                                                    \
    do {                                                                                                      \
      const float *const start1 = start0 + at->start_step, *const start2 = start1 + at->start_step;           \
      EACH(BEGIN3)                                                                                            \
      for (const tinytl_internal_tap *tap = run->taps; tap != end; ++tap) {                                   \
        const float *source0 = source + tap->source, *source1 = source0 + at->source_step,                    \
                    *source2 = source1 + at->source_step;                                                     \
        const float *const source_end = source0 + gemm->depth;                                                \
        const float *panel = gemm->panel + tap->panel;                                                        \
        do {                                                                                                  \
          const float x0 = *source0++, x1 = *source1++, x2 = *source2++;                                      \
          EACH(STEP3)                                                                                         \
          panel += TINYTL_PANEL_WIDTH;                                                                        \
        } while (source0 != source_end);                                                                      \
      }                                                                                                       \
      float *const out1 = out0 + at->out_step, *const out2 = out1 + at->out_step;                             \
      EACH(END3)                                                                                              \
      source += 3 * at->source_step;                                                                          \
      start0 = start2 + at->start_step;                                                                       \
      out0 = out2 + at->out_step;                                                                             \
    } while (--count);                                                                                        \
  }

/* `count` single pixels, from the cursor on. */
#define DEFINE_RUN1(NAME, EACH)                                                                        \
  static void NAME(const tinytl_internal_gemm *gemm, const tinytl_internal_run *run, const cursor *at, \
                   int32_t count) {                                                                    \
    const tinytl_internal_tap *const end = run->taps + run->tap_count;                                 \
    const float *source = at->source, *start = at->start;                                              \
    float *out = at->out;                                                                              \
    do {                                                                                               \
      EACH(BEGIN1)                                                                                     \
      for (const tinytl_internal_tap *tap = run->taps; tap != end; ++tap) {                            \
        const float *source0 = source + tap->source;                                                   \
        const float *const source_end = source0 + gemm->depth;                                         \
        const float *panel = gemm->panel + tap->panel;                                                 \
        do {                                                                                           \
          const float x0 = *source0++;                                                                 \
          EACH(STEP1)                                                                                  \
          panel += TINYTL_PANEL_WIDTH;                                                                 \
        } while (source0 != source_end);                                                               \
      }                                                                                                \
      EACH(END1)                                                                                       \
      source += at->source_step;                                                                       \
      start += at->start_step;                                                                         \
      out += at->out_step;                                                                             \
    } while (--count);                                                                                 \
  }

DEFINE_RUN3(run_3x8, EACH8)
DEFINE_RUN1(run_1x8, EACH8)
DEFINE_RUN3(run_3x4, EACH4)
DEFINE_RUN1(run_1x4, EACH4)

static void run_pixels(const tinytl_internal_gemm *gemm, const tinytl_internal_run *run, cursor at, int32_t count) {
  const bool wide = gemm->width > 4;
  const int32_t triples = count / 3, singles = count - 3 * triples;
  if (triples) (wide ? run_3x8 : run_3x4)(gemm, run, &at, triples);
  at.source += 3 * triples * at.source_step;
  at.start += 3 * triples * at.start_step;
  at.out += 3 * triples * at.out_step;
  if (singles) (wide ? run_1x8 : run_1x4)(gemm, run, &at, singles);
}

/* A width that is neither 8 nor 4: through buffers of a full row, 3 pixels at a time. */
static void run_narrow(const tinytl_internal_gemm *gemm, const tinytl_internal_run *run, cursor at, int32_t count) {
  for (int32_t left = count; left > 0; left -= 3) {
    const int32_t pixels = tinytl_internal_min(left, 3);
    float rows[3][TINYTL_PANEL_WIDTH] = {{0}};
    for (int32_t i = 0; i < pixels; ++i) {
      for (int32_t j = 0; j < gemm->width; ++j) rows[i][j] = at.start[i * at.start_step + j];
    }
    const cursor buffered = {at.source, rows[0], rows[0], at.source_step, TINYTL_PANEL_WIDTH, TINYTL_PANEL_WIDTH};
    run_pixels(gemm, run, buffered, pixels);
    for (int32_t i = 0; i < pixels; ++i) {
      for (int32_t j = 0; j < gemm->width; ++j) at.out[i * at.out_step + j] = rows[i][j];
    }
    at.source += 3 * at.source_step;
    at.start += 3 * at.start_step;
    at.out += 3 * at.out_step;
  }
}

void tinytl_internal_gemm_run(const void *context, const tinytl_internal_run *run) {
  const tinytl_internal_gemm *const gemm = context;
  float *const out = gemm->destination + run->destination;
  const cursor at = {.source = gemm->source,
                     .start = gemm->start ? gemm->start : out,
                     .out = out,
                     .source_step = run->source_step,
                     .start_step = gemm->start ? 0 : run->destination_step,
                     .out_step = run->destination_step};
  if (gemm->width == 8 || gemm->width == 4) {
    run_pixels(gemm, run, at, run->count);
  } else {
    run_narrow(gemm, run, at, run->count);
  }
}
