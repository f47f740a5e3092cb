#include "internal/depthwise.h"

#define EACH8(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)

#define BEGIN3(j) float a##j = start0[j], b##j = start1[j], c##j = start2[j];
#define STEP3(j)                                        \
  {                                                     \
    const float weight = panel[j];                      \
    a##j = TINYTL_MULTIPLY_ADD(a##j, source0[j], weight); \
    b##j = TINYTL_MULTIPLY_ADD(b##j, source1[j], weight); \
    c##j = TINYTL_MULTIPLY_ADD(c##j, source2[j], weight); \
  }
#define END3(j) out0[j] = a##j, out1[j] = b##j, out2[j] = c##j;

static void block_3x8(const tinytl_internal_run *run, const float *source, const float *block_panel,
                      const float *start0, const float *start1, const float *start2, float *out0, float *out1,
                      float *out2) {
  const tinytl_internal_tap *tap = run->taps, *const end = tap + run->tap_count;
  const ptrdiff_t step = run->source_step;
  EACH8(BEGIN3)
  for (; tap != end; ++tap) {
    const float *const source0 = source + tap->source, *const source1 = source0 + step,
                       *const source2 = source1 + step;
    const float *const panel = block_panel + tap->panel;
    EACH8(STEP3)
  }
  EACH8(END3)
}

#define BEGIN1(j) float a##j = start[j];
#define STEP1(j) a##j = TINYTL_MULTIPLY_ADD(a##j, source0[j], panel[j]);
#define END1(j) out[j] = a##j;

static void block_1x8(const tinytl_internal_run *run, const float *source, const float *block_panel,
                      const float *start, float *out) {
  const tinytl_internal_tap *tap = run->taps, *const end = tap + run->tap_count;
  EACH8(BEGIN1)
  for (; tap != end; ++tap) {
    const float *const source0 = source + tap->source;
    const float *const panel = block_panel + tap->panel;
    EACH8(STEP1)
  }
  EACH8(END1)
}

static void single_channel(const tinytl_internal_run *run, const float *source, const float *block_panel,
                           const float *start, float *out) {
  const tinytl_internal_tap *tap = run->taps, *const end = tap + run->tap_count;
  float sum = *start;
  for (; tap != end; ++tap) sum = TINYTL_MULTIPLY_ADD(sum, source[tap->source], block_panel[tap->panel]);
  *out = sum;
}

void tinytl_internal_depthwise_run(const void *context, const tinytl_internal_run *run) {
  const tinytl_internal_depthwise *const depthwise = context;
  const ptrdiff_t source_step = run->source_step, step = run->destination_step;
  const ptrdiff_t start_step = depthwise->start ? 0 : step;
  const float *panel = depthwise->panel;
  int32_t channel = 0;
  for (; channel + TINYTL_DEPTHWISE_BLOCK <= depthwise->channels;
       channel += TINYTL_DEPTHWISE_BLOCK, panel += depthwise->panel_block) {
    const float *source = depthwise->source + channel;
    float *out = depthwise->destination + run->destination + channel;
    const float *start = depthwise->start ? depthwise->start + channel : out;
    int32_t left = run->count;
    for (; left >= 3; left -= 3) {
      block_3x8(run, source, panel, start, start + start_step, start + 2 * start_step, out, out + step,
                out + 2 * step);
      source += 3 * source_step;
      start += 3 * start_step;
      out += 3 * step;
    }
    for (; left > 0; --left) {
      block_1x8(run, source, panel, start, out);
      source += source_step;
      start += start_step;
      out += step;
    }
  }
  for (int32_t j = 0; channel < depthwise->channels; ++channel, ++j) {
    const float *source = depthwise->source + channel;
    float *out = depthwise->destination + run->destination + channel;
    const float *start = depthwise->start ? depthwise->start + channel : out;
    for (int32_t left = run->count; left > 0; --left) {
      single_channel(run, source, panel + j, start, out);
      source += source_step;
      start += start_step;
      out += step;
    }
  }
}
