/* One axis of a sliding window, seen from a destination index: which taps read which source index.
 *
 * Forward (an output from inputs):  source = destination * stride - pad + tap.
 * Backward (dx from dy):            source * stride - pad + tap = destination, where that divides.
 * The taps of one destination are an arithmetic progression either way, so one walk serves both directions.
 */
#ifndef TINYTL_INTERNAL_AXIS_H
#define TINYTL_INTERNAL_AXIS_H

#include "internal/arithmetic.h"
#include "tinytl/types.h"

typedef struct tinytl_internal_axis {
  int32_t taps, stride, pad;
  int32_t source, destination; /* sizes */
  int32_t tap_step, source_step, phases;
  int32_t phase_step; /* from one destination to the next that has the same taps */
  int32_t phase_source_step;
} tinytl_internal_axis;

typedef struct tinytl_internal_reach {
  int32_t tap, source, count; /* the first tap, what it reads, how many there are */
  bool full;                  /* no tap is cut off by the source's border */
} tinytl_internal_reach;

static inline tinytl_internal_axis tinytl_internal_forward_axis(int32_t taps, int32_t stride, int32_t pad,
                                                                int32_t input, int32_t output) {
  const tinytl_internal_axis axis = {.taps = taps,
                                     .stride = stride,
                                     .pad = pad,
                                     .source = input,
                                     .destination = output,
                                     .tap_step = 1,
                                     .source_step = 1,
                                     .phases = 1,
                                     .phase_step = 1,
                                     .phase_source_step = stride};
  return axis;
}

static inline tinytl_internal_axis tinytl_internal_backward_axis(int32_t taps, int32_t stride, int32_t pad,
                                                                 int32_t input, int32_t output) {
  const tinytl_internal_axis axis = {.taps = taps,
                                     .stride = stride,
                                     .pad = pad,
                                     .source = output,
                                     .destination = input,
                                     .tap_step = stride,
                                     .source_step = -1,
                                     .phases = stride,
                                     .phase_step = stride,
                                     .phase_source_step = 1};
  return axis;
}

static inline tinytl_internal_reach tinytl_internal_reach_of(const tinytl_internal_axis *axis, int32_t destination) {
  tinytl_internal_reach reach;
  int32_t first, last, source;
  int32_t total;
  if (axis->source_step > 0) {
    const int32_t start = destination * axis->stride - axis->pad;
    total = axis->taps;
    first = tinytl_internal_max(0, -start);
    last = tinytl_internal_min(total, axis->source - start);
    reach.tap = first;
    source = start + first;
  } else {
    const int32_t nearest = (destination + axis->pad) / axis->stride;
    const int32_t phase = destination + axis->pad - nearest * axis->stride;
    total = phase < axis->taps ? (axis->taps - 1 - phase) / axis->stride + 1 : 0;
    first = tinytl_internal_max(0, nearest - (axis->source - 1));
    last = tinytl_internal_min(total, nearest + 1);
    reach.tap = phase + first * axis->stride;
    source = nearest - first;
  }
  reach.source = source;
  reach.count = tinytl_internal_max(0, last - first);
  reach.full = reach.count == total;
  return reach;
}

/* How many destinations from this one on, phase_step apart, have the very same taps. */
static inline int32_t tinytl_internal_run_of(const tinytl_internal_axis *axis, int32_t destination,
                                             const tinytl_internal_reach *reach) {
  if (!reach->full) return 1;
  int32_t run;
  if (axis->source_step > 0) {
    run = (axis->source - axis->taps - reach->source) / axis->stride + 1;
  } else {
    run = reach->count ? axis->source - reach->source : axis->destination;
  }
  return tinytl_internal_min(run, (axis->destination - 1 - destination) / axis->phase_step + 1);
}

/* Drops the taps that no destination ever uses (a 5x5 window on a 2x2 map): *first is how many at the low end. Both
 * axes of a window are cropped before a walk, and the kernel is read from tap `first` on. */
static inline tinytl_window tinytl_internal_crop(const tinytl_window *window, const tinytl_shape *input,
                                                 const tinytl_shape *output, int32_t *first_row,
                                                 int32_t *first_column) {
  tinytl_window cropped = *window;
  const int32_t reach_row = (output->height - 1) * window->stride_height;
  const int32_t reach_column = (output->width - 1) * window->stride_width;
  *first_row = tinytl_internal_max(0, window->pad_top - reach_row);
  *first_column = tinytl_internal_max(0, window->pad_left - reach_column);
  cropped.height = tinytl_internal_min(window->height, input->height + window->pad_top) - *first_row;
  cropped.width = tinytl_internal_min(window->width, input->width + window->pad_left) - *first_column;
  cropped.pad_top -= *first_row;
  cropped.pad_left -= *first_column;
  return cropped;
}

#endif
