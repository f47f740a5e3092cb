#include "internal/convolve_s8.h"

#include <string.h>

#include "internal/convolve.h"
#include "internal/pairs.h"
#include "internal/requantize.h"
#include "internal/walk.h"

#define BLOCK 4

typedef struct job {
  const tinytl_requantization *requantization;
  const int8_t *x;      /* at the group's first input channel */
  const int8_t *kernel; /* at the group's first output channel */
  const int32_t *bias;  /* likewise, or NULL */
  int8_t *y;            /* the first pixel, all channels */
  uint8_t *mask;        /* likewise, or NULL */
  int32_t first_channel, channels; /* the group's output channels */
  int32_t depth;                   /* input channels of the group */
  int32_t kernel_step;             /* kernel elements of one output channel */
  int32_t output_channels, mask_bytes;
} job;

/* sums[0..4) += one tap's products for four output channels. */
static inline void add_tap(const int8_t *x, const int8_t *const kernel[BLOCK], int32_t offset, int32_t depth,
                           uint32_t zero_points, int32_t sums[BLOCK]) {
  const int8_t *w0 = kernel[0] + offset, *w1 = kernel[1] + offset, *w2 = kernel[2] + offset, *w3 = kernel[3] + offset;
  int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
#define MULTIPLY(sum, weights, load)                                         \
  {                                                                          \
    const tinytl_internal_pairs w = tinytl_internal_widen(load);             \
    sum = tinytl_internal_multiply_pairs(even, w.even, sum);                 \
    sum = tinytl_internal_multiply_pairs(odd, w.odd, sum);                   \
  }
#define FOUR_CHANNELS(LOAD)                                                            \
  {                                                                                    \
    const tinytl_internal_pairs pairs = tinytl_internal_widen(LOAD(x));                \
    const uint32_t even = tinytl_internal_subtract_pair(pairs.even, zero_points);      \
    const uint32_t odd = tinytl_internal_subtract_pair(pairs.odd, zero_points);        \
    MULTIPLY(s0, w0, LOAD(w0))                                                         \
    MULTIPLY(s1, w1, LOAD(w1))                                                         \
    MULTIPLY(s2, w2, LOAD(w2))                                                         \
    MULTIPLY(s3, w3, LOAD(w3))                                                         \
  }
#define SOME(pointer) tinytl_internal_load_some(pointer, left)
  int32_t left = depth;
  for (; left >= 4; left -= 4) {
    FOUR_CHANNELS(tinytl_internal_load_four)
    x += 4, w0 += 4, w1 += 4, w2 += 4, w3 += 4;
  }
  /* Behind the last value the x of the pairs is -zero point, but its weight is 0. */
  if (left) FOUR_CHANNELS(SOME)
  sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
#undef MULTIPLY
#undef FOUR_CHANNELS
#undef SOME
}

static void compute_pixel(const job *j, const tinytl_internal_run *run, const int8_t *x, int8_t *y, uint8_t *mask) {
  const tinytl_internal_tap *const end = run->taps + run->tap_count;
  const int32_t zero_point = j->requantization->input_zero_point;
  const uint32_t zero_points = tinytl_internal_pair(zero_point, zero_point);
  for (int32_t channel = 0; channel < j->channels; channel += BLOCK) {
    const int32_t width = tinytl_internal_min(BLOCK, j->channels - channel);
    const int8_t *kernel[BLOCK];
    int32_t sums[BLOCK];
    for (int32_t i = 0; i < BLOCK; ++i) {
      /* A block that sticks out repeats its last channel. */
      const int32_t own = channel + tinytl_internal_min(i, width - 1);
      kernel[i] = j->kernel + (ptrdiff_t)own * j->kernel_step;
      sums[i] = j->bias ? j->bias[own] : 0;
    }
    for (const tinytl_internal_tap *tap = run->taps; tap != end; ++tap) {
      add_tap(x + tap->source, kernel, tap->panel, j->depth, zero_points, sums);
    }
    for (int32_t i = 0; i < width; ++i) {
      tinytl_internal_store_int8(j->requantization, j->first_channel + channel + i, sums[i], y, mask);
    }
  }
}

static void compute_run(const void *context, const tinytl_internal_run *run) {
  const job *const j = context;
  const int8_t *x = j->x;
  int8_t *y = j->y + run->destination;
  uint8_t *mask = j->mask ? j->mask + run->destination / j->output_channels * j->mask_bytes : NULL;
  for (int32_t left = run->count; left > 0; --left) {
    compute_pixel(j, run, x, y, mask);
    x += run->source_step;
    y += run->destination_step;
    if (mask) mask += j->mask_bytes;
  }
}

tinytl_status tinytl_internal_conv_forward_s8(const tinytl_conv_params *params,
                                              const tinytl_requantization *requantization, const int8_t *x,
                                              const int8_t *kernel, const int32_t *bias, int8_t *y, uint8_t *mask,
                                              void *workspace, size_t workspace_bytes) {
  if (!params || !x || !kernel || !y || !workspace) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_conv(params)) return TINYTL_ERROR_SHAPE;
  const tinytl_status status = tinytl_internal_check_requantization(requantization, params->output.channels);
  if (status != TINYTL_OK) return status;
  if (workspace_bytes < tinytl_conv_workspace_bytes(params)) return TINYTL_ERROR_WORKSPACE;
  const int32_t depth = params->input.channels / params->groups, channels = params->output.channels / params->groups;
  const int32_t mask_bytes = (int32_t)tinytl_mask_bytes(1, params->output.channels);
  if (mask) memset(mask, 0, tinytl_mask_bytes(tinytl_pixels(&params->output), params->output.channels));
  tinytl_internal_walk walk = tinytl_internal_make_walk(&params->input, &params->output, &params->window, false);
  walk.panel_step = depth;
  for (int32_t group = 0; group < params->groups; ++group) {
    const int32_t kernel_step = params->window.height * params->window.width * depth;
    const job j = {.requantization = requantization,
                   .x = x + group * depth,
                   .kernel = kernel + (ptrdiff_t)group * channels * kernel_step,
                   .bias = bias ? bias + group * channels : NULL,
                   .y = y,
                   .mask = mask,
                   .first_channel = group * channels,
                   .channels = channels,
                   .depth = depth,
                   .kernel_step = kernel_step,
                   .output_channels = params->output.channels,
                   .mask_bytes = mask_bytes};
    tinytl_internal_walk_runs(&walk, workspace, compute_run, &j);
  }
  return TINYTL_OK;
}
