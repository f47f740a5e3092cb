#include "internal/convolve_s8.h"

#include <string.h>

#include "internal/cmsis_nn.h"
#include "internal/convolve.h"
#include "internal/pairs.h"
#include "internal/store_four.h"
#include "internal/walk.h"

/* Output channels at a time: 4 where their kernel, widened to int16 pairs, fits into the workspace, which leaves the
 * inner loop one pointer to it; else 2, read as they lie. */
#define PANEL_CHANNELS 4
#define DIRECT_CHANNELS 2
#define QUAD_WORDS (2 * PANEL_CHANNELS) /* panel words of four input channels */

typedef struct job {
  tinytl_internal_four four; /* the block's output channels */
  const int8_t *x;           /* at the group's first input channel */
  const int8_t *kernel;      /* at the block's first output channel */
  int8_t *y;                 /* the first pixel, all channels */
  uint8_t *mask;             /* likewise, or NULL */
  const uint32_t *panel;
  int32_t depth;       /* input channels of the group */
  int32_t kernel_step; /* kernel elements of one output channel */
  int32_t output_channels, mask_bytes;
  uint32_t offset; /* minus the input's zero point, twice */
} job;

static int32_t quads_of(int32_t depth) { return (depth + 3) / 4; }

/* panel [taps][quads][4 channels][even, odd], zeros behind the last input and output channel. */
static void pack(const job *j, int32_t taps, uint32_t *panel) {
  for (int32_t tap = 0; tap < taps; ++tap) {
    for (int32_t k = 0; k < j->depth; k += 4) {
      for (int32_t i = 0; i < PANEL_CHANNELS; ++i) {
        tinytl_internal_pairs weights = {0, 0};
        if (i < j->four.width) {
          const int8_t *four = j->kernel + (ptrdiff_t)i * j->kernel_step + tap * j->depth + k;
          const int32_t left = j->depth - k;
          weights = tinytl_internal_widen(left < 4 ? tinytl_internal_load_some(four, left)
                                                   : tinytl_internal_load_four(four));
        }
        *panel++ = weights.even;
        *panel++ = weights.odd;
      }
    }
  }
}

/* The next four input channels of a tap; behind the last, x is minus its zero point, but the weight is 0. */
static inline tinytl_internal_pairs load_values(const int8_t *x, int32_t left, uint32_t offset) {
  return tinytl_internal_widen_add(left < 4 ? tinytl_internal_load_some(x, left) : tinytl_internal_load_four(x),
                                   offset);
}

static void pixel_by_panel(const job *j, const tinytl_internal_run *run, const int8_t *x_pixel,
                           int8_t *restrict y, uint8_t *restrict mask) {
  const tinytl_internal_tap *const end = run->taps + run->tap_count;
  const uint32_t offset = j->offset;
  int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#define MULTIPLY(sum, i)                                                     \
  sum = tinytl_internal_multiply_pairs(values.even, panel[2 * (i)], sum);     \
  sum = tinytl_internal_multiply_pairs(values.odd, panel[2 * (i) + 1], sum);
  for (const tinytl_internal_tap *tap = run->taps; tap != end; ++tap) {
    const int8_t *x = x_pixel + tap->source;
    const int8_t *const x_end = x + (j->depth & ~3);
    const uint32_t *panel = j->panel + tap->panel;
    for (; x != x_end; x += 4, panel += QUAD_WORDS) {
      const tinytl_internal_pairs values = tinytl_internal_widen_add(tinytl_internal_load_four(x), offset);
      MULTIPLY(s0, 0) MULTIPLY(s1, 1) MULTIPLY(s2, 2) MULTIPLY(s3, 3)
    }
    if (j->depth & 3) {
      const tinytl_internal_pairs values = load_values(x, j->depth & 3, offset);
      MULTIPLY(s0, 0) MULTIPLY(s1, 1) MULTIPLY(s2, 2) MULTIPLY(s3, 3)
    }
  }
#undef MULTIPLY
  const int32_t sums[PANEL_CHANNELS] = {s0, s1, s2, s3};
  tinytl_internal_store_four(&j->four, sums, y, mask);
}

static void pixel_directly(const job *j, const tinytl_internal_run *run, const int8_t *x_pixel,
                           int8_t *restrict y, uint8_t *restrict mask) {
  const tinytl_internal_tap *const end = run->taps + run->tap_count;
  const uint32_t offset = j->offset;
  int32_t sums[4] = {0};
  const int32_t first_step = j->four.width > 1 ? j->kernel_step : 0; /* a block of one repeats it, and drops the second */
  for (const tinytl_internal_tap *tap = run->taps; tap != end; ++tap) {
    const int8_t *x = x_pixel + tap->source, *w0 = j->kernel + tap->panel, *w1 = w0 + first_step;
    int32_t s0 = sums[0], s1 = sums[1];
    for (int32_t left = j->depth; left > 0; left -= 4, x += 4, w0 += 4, w1 += 4) {
      const tinytl_internal_pairs values = load_values(x, left, offset);
      const tinytl_internal_pairs a = load_values(w0, left, 0), b = load_values(w1, left, 0);
      s0 = tinytl_internal_multiply_pairs(values.even, a.even, s0);
      s0 = tinytl_internal_multiply_pairs(values.odd, a.odd, s0);
      s1 = tinytl_internal_multiply_pairs(values.even, b.even, s1);
      s1 = tinytl_internal_multiply_pairs(values.odd, b.odd, s1);
    }
    sums[0] = s0, sums[1] = s1;
  }
  tinytl_internal_store_four(&j->four, sums, y, mask);
}

static void compute_run(const void *context, const tinytl_internal_run *run) {
  const job *const j = context;
  const int8_t *x = j->x;
  int8_t *y = j->y + run->destination;
  uint8_t *mask = j->mask ? j->mask + run->destination / j->output_channels * j->mask_bytes : NULL;
  for (int32_t pixel = run->count; pixel > 0; --pixel) {
    if (j->panel) {
      pixel_by_panel(j, run, x, y, mask);
    } else {
      pixel_directly(j, run, x, y, mask);
    }
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
  if (tinytl_internal_cmsis_conv(params, requantization, x, kernel, bias, y, mask, workspace, workspace_bytes)) {
    return TINYTL_OK;
  }
  const int32_t depth = params->input.channels / params->groups, channels = params->output.channels / params->groups;
  const int32_t taps = params->window.height * params->window.width, quads = quads_of(depth);
  tinytl_internal_tap *const tap_list = workspace;
  uint32_t *const panel = (uint32_t *)(tap_list + taps);
  const size_t panel_bytes = (size_t)taps * (size_t)quads * QUAD_WORDS * sizeof *panel;
  const bool fits = (size_t)taps * sizeof *tap_list + panel_bytes <= workspace_bytes;
  const int32_t block = fits ? PANEL_CHANNELS : DIRECT_CHANNELS;
  const int32_t zero_point = requantization->input_zero_point;
  if (mask) memset(mask, 0, tinytl_mask_bytes(tinytl_pixels(&params->output), params->output.channels));
  tinytl_internal_walk walk = tinytl_internal_make_walk(&params->input, &params->output, &params->window, false);
  walk.panel_step = fits ? quads * QUAD_WORDS : depth;
  for (int32_t group = 0; group < params->groups; ++group) {
    for (int32_t channel = 0; channel < channels; channel += block) {
      const int32_t first = group * channels + channel;
      const int32_t width = tinytl_internal_min(block, channels - channel);
      const job j = {.four = tinytl_internal_take_four(requantization, bias, first, width),
                     .x = x + group * depth,
                     .kernel = kernel + (ptrdiff_t)first * taps * depth,
                     .y = y,
                     .mask = mask,
                     .panel = fits ? panel : NULL,
                     .depth = depth,
                     .kernel_step = taps * depth,
                     .output_channels = params->output.channels,
                     .mask_bytes = (int32_t)tinytl_mask_bytes(1, params->output.channels),
                     .offset = tinytl_internal_pair(-zero_point, -zero_point)};
      if (fits) pack(&j, taps, panel);
      tinytl_internal_walk_runs(&walk, tap_list, compute_run, &j);
    }
  }
  return TINYTL_OK;
}
