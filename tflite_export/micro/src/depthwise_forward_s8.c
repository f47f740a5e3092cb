#include <string.h>

#include "internal/cmsis_nn.h"
#include "internal/depthwise.h"
#include "internal/pairs.h"
#include "internal/store_four.h"

#define BLOCKS 4 /* of four channels, that share one walk over the map */

typedef struct job {
  tinytl_internal_four fours[BLOCKS];
  int32_t blocks;
  const int8_t *x, *kernel; /* at the first channel of the first block */
  int8_t *y;                /* the first pixel, all channels */
  uint8_t *mask;            /* likewise, or NULL */
  int32_t channels, mask_bytes, zero_point;
} job;

/* Four channels of a pixel. x and kernel are at the block's first channel. */
static void four_channels(const tinytl_internal_four *four, const tinytl_internal_run *run, const int8_t *x,
                          const int8_t *kernel, uint32_t offset, int8_t *restrict y, uint8_t *restrict mask) {
  const tinytl_internal_tap *const end = run->taps + run->tap_count;
  int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (const tinytl_internal_tap *tap = run->taps; tap != end; ++tap) {
    const tinytl_internal_pairs values = tinytl_internal_widen_add(tinytl_internal_load_four(x + tap->source), offset);
    const tinytl_internal_pairs weights = tinytl_internal_widen(tinytl_internal_load_four(kernel + tap->panel));
    s0 = tinytl_internal_multiply_low(values.even, weights.even, s0);
    s1 = tinytl_internal_multiply_low(values.odd, weights.odd, s1);
    s2 = tinytl_internal_multiply_high(values.even, weights.even, s2);
    s3 = tinytl_internal_multiply_high(values.odd, weights.odd, s3);
  }
  const int32_t sums[4] = {s0, s1, s2, s3};
  tinytl_internal_store_four(four, sums, y, mask);
}

/* What is left of the channels, 1 to 3. */
static void last_channels(const tinytl_internal_four *four, const tinytl_internal_run *run, const int8_t *x,
                          const int8_t *kernel, int32_t zero_point, int8_t *restrict y, uint8_t *restrict mask) {
  const tinytl_internal_tap *const end = run->taps + run->tap_count;
  int32_t sums[4] = {0};
  for (const tinytl_internal_tap *tap = run->taps; tap != end; ++tap) {
    for (int32_t i = 0; i < four->width; ++i) sums[i] += (x[tap->source + i] - zero_point) * kernel[tap->panel + i];
  }
  tinytl_internal_store_four(four, sums, y, mask);
}

static void compute_run(const void *context, const tinytl_internal_run *run) {
  const job *const j = context;
  const uint32_t offset = tinytl_internal_pair(-j->zero_point, -j->zero_point);
  uint8_t *const first_mask = j->mask ? j->mask + run->destination / j->channels * j->mask_bytes : NULL;
  for (int32_t block = 0; block < j->blocks; ++block) {
    const tinytl_internal_four *const four = &j->fours[block];
    const int8_t *const kernel = j->kernel + 4 * block, *x = j->x + 4 * block;
    int8_t *y = j->y + run->destination;
    uint8_t *mask = first_mask;
    for (int32_t pixel = run->count; pixel > 0; --pixel) {
      if (four->width == 4) {
        four_channels(four, run, x, kernel, offset, y, mask);
      } else {
        last_channels(four, run, x, kernel, j->zero_point, y, mask);
      }
      x += run->source_step;
      y += run->destination_step;
      if (mask) mask += j->mask_bytes;
    }
  }
}

tinytl_status tinytl_depthwise_forward_s8(const tinytl_depthwise_params *params,
                                          const tinytl_requantization *requantization, const int8_t *x,
                                          const int8_t *kernel, const int32_t *bias, int8_t *y, uint8_t *mask,
                                          void *workspace, size_t workspace_bytes) {
  if (!params || !x || !kernel || !y || !workspace) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_depthwise(params)) return TINYTL_ERROR_SHAPE;
  const int32_t channels = params->output.channels;
  const tinytl_status status = tinytl_internal_check_requantization(requantization, channels);
  if (status != TINYTL_OK) return status;
  if (workspace_bytes < tinytl_depthwise_workspace_bytes(params)) return TINYTL_ERROR_WORKSPACE;
  if (tinytl_internal_cmsis_depthwise(params, requantization, x, kernel, bias, y, mask, workspace, workspace_bytes)) {
    return TINYTL_OK;
  }
  if (mask) memset(mask, 0, tinytl_mask_bytes(tinytl_pixels(&params->output), channels));
  tinytl_internal_walk walk = tinytl_internal_make_walk(&params->input, &params->output, &params->window, false);
  walk.panel_step = channels;
  for (int32_t channel = 0; channel < channels; channel += 4 * BLOCKS) {
    job j = {.x = x + channel,
             .kernel = kernel + channel,
             .y = y,
             .mask = mask,
             .channels = channels,
             .mask_bytes = (int32_t)tinytl_mask_bytes(1, channels),
             .zero_point = requantization->input_zero_point};
    for (int32_t i = channel; i < channels && j.blocks < BLOCKS; i += 4) {
      const int32_t width = tinytl_internal_min(4, channels - i);
      j.fours[j.blocks++] = tinytl_internal_take_four(requantization, bias, i, width);
    }
    tinytl_internal_walk_runs(&walk, workspace, compute_run, &j);
  }
  return TINYTL_OK;
}
