#include <string.h>

#include "internal/depthwise.h"
#include "internal/requantize.h"

typedef struct job {
  const tinytl_requantization *requantization;
  const int8_t *x, *kernel;
  const int32_t *bias;
  int8_t *y;
  uint8_t *mask;
  int32_t channels, mask_bytes;
} job;

#define EACH4(DO) DO(0) DO(1) DO(2) DO(3)
#define BEGIN(i) int32_t s##i = j->bias ? j->bias[channel + (i)] : 0;
#define STEP(i) s##i += (x_tap[i] - zero_point) * kernel_tap[i];
#define END(i) tinytl_internal_store_int8(j->requantization, channel + (i), s##i, y, mask);

static void compute_pixel(const job *j, const tinytl_internal_run *run, const int8_t *x, int8_t *y, uint8_t *mask) {
  const tinytl_internal_tap *const end = run->taps + run->tap_count;
  const int32_t zero_point = j->requantization->input_zero_point;
  int32_t channel = 0;
  for (; channel + 4 <= j->channels; channel += 4) {
    EACH4(BEGIN)
    for (const tinytl_internal_tap *tap = run->taps; tap != end; ++tap) {
      const int8_t *const x_tap = x + tap->source + channel, *const kernel_tap = j->kernel + tap->panel + channel;
      EACH4(STEP)
    }
    EACH4(END)
  }
  for (; channel < j->channels; ++channel) {
    BEGIN(0)
    for (const tinytl_internal_tap *tap = run->taps; tap != end; ++tap) {
      const int8_t *const x_tap = x + tap->source + channel, *const kernel_tap = j->kernel + tap->panel + channel;
      STEP(0)
    }
    END(0)
  }
}

static void compute_run(const void *context, const tinytl_internal_run *run) {
  const job *const j = context;
  const int8_t *x = j->x;
  int8_t *y = j->y + run->destination;
  uint8_t *mask = j->mask ? j->mask + run->destination / j->channels * j->mask_bytes : NULL;
  for (int32_t left = run->count; left > 0; --left) {
    compute_pixel(j, run, x, y, mask);
    x += run->source_step;
    y += run->destination_step;
    if (mask) mask += j->mask_bytes;
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
  if (mask) memset(mask, 0, tinytl_mask_bytes(tinytl_pixels(&params->output), channels));
  tinytl_internal_walk walk = tinytl_internal_make_walk(&params->input, &params->output, &params->window, false);
  walk.panel_step = channels;
  const job j = {.requantization = requantization,
                 .x = x,
                 .kernel = kernel,
                 .bias = bias,
                 .y = y,
                 .mask = mask,
                 .channels = channels,
                 .mask_bytes = (int32_t)tinytl_mask_bytes(1, channels)};
  tinytl_internal_walk_runs(&walk, workspace, compute_run, &j);
  return TINYTL_OK;
}
