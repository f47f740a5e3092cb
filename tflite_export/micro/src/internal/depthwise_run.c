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

/* Where a run's pixels are: the next one's source, start and destination, and the steps to the one behind it. */
typedef struct cursor {
  const float *source, *start;
  float *out;
  ptrdiff_t source_step, start_step, out_step;
} cursor;

/* `count` times 3 pixels, from the cursor on. */
static void run_3x8(const tinytl_internal_run *run, const float *block_panel, const cursor *at, int32_t count) {
  const tinytl_internal_tap *const end = run->taps + run->tap_count;
  const float *source = at->source, *start0 = at->start;
  float *out0 = at->out;
  do {
    const float *const start1 = start0 + at->start_step, *const start2 = start1 + at->start_step;
    EACH8(BEGIN3)
    for (const tinytl_internal_tap *tap = run->taps; tap != end; ++tap) {
      const float *const source0 = source + tap->source, *const source1 = source0 + at->source_step,
                         *const source2 = source1 + at->source_step;
      const float *const panel = block_panel + tap->panel;
      EACH8(STEP3)
    }
    float *const out1 = out0 + at->out_step, *const out2 = out1 + at->out_step;
    EACH8(END3)
    source += 3 * at->source_step;
    start0 = start2 + at->start_step;
    out0 = out2 + at->out_step;
  } while (--count);
}

#define BEGIN1(j) float a##j = start[j];
#define STEP1(j) a##j = TINYTL_MULTIPLY_ADD(a##j, source0[j], panel[j]);
#define END1(j) out[j] = a##j;

/* `count` single pixels, from the cursor on. */
static void run_1x8(const tinytl_internal_run *run, const float *block_panel, const cursor *at, int32_t count) {
  const tinytl_internal_tap *const end = run->taps + run->tap_count;
  const float *source = at->source, *start = at->start;
  float *out = at->out;
  do {
    EACH8(BEGIN1)
    for (const tinytl_internal_tap *tap = run->taps; tap != end; ++tap) {
      const float *const source0 = source + tap->source;
      const float *const panel = block_panel + tap->panel;
      EACH8(STEP1)
    }
    EACH8(END1)
    source += at->source_step;
    start += at->start_step;
    out += at->out_step;
  } while (--count);
}

/* One channel of `count` pixels: what is left of the channels behind the blocks of 8. */
static void run_1x1(const tinytl_internal_run *run, const float *block_panel, const cursor *at, int32_t count) {
  const tinytl_internal_tap *const end = run->taps + run->tap_count;
  const float *source = at->source, *start = at->start;
  float *out = at->out;
  do {
    float sum = *start;
    for (const tinytl_internal_tap *tap = run->taps; tap != end; ++tap) {
      sum = TINYTL_MULTIPLY_ADD(sum, source[tap->source], block_panel[tap->panel]);
    }
    *out = sum;
    source += at->source_step;
    start += at->start_step;
    out += at->out_step;
  } while (--count);
}

void tinytl_internal_depthwise_run(const void *context, const tinytl_internal_run *run) {
  const tinytl_internal_depthwise *const depthwise = context;
  const int32_t triples = run->count / 3, singles = run->count - 3 * triples;
  const float *panel = depthwise->panel;
  float *const out = depthwise->destination + run->destination;
  cursor at = {.source_step = run->source_step,
               .start_step = depthwise->start ? 0 : run->destination_step,
               .out_step = run->destination_step};
  int32_t channel = 0;
  for (; channel + TINYTL_DEPTHWISE_BLOCK <= depthwise->channels; channel += TINYTL_DEPTHWISE_BLOCK) {
    at.source = depthwise->source + channel;
    at.out = out + channel;
    at.start = depthwise->start ? depthwise->start + channel : at.out;
    if (triples) run_3x8(run, panel, &at, triples);
    at.source += 3 * triples * at.source_step;
    at.start += 3 * triples * at.start_step;
    at.out += 3 * triples * at.out_step;
    if (singles) run_1x8(run, panel, &at, singles);
    panel += depthwise->panel_block;
  }
  for (; channel < depthwise->channels; ++channel, ++panel) {
    at.source = depthwise->source + channel;
    at.out = out + channel;
    at.start = depthwise->start ? depthwise->start + channel : at.out;
    run_1x1(run, panel, &at, run->count);
  }
}
