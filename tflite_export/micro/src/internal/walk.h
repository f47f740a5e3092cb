/* Walks the pixels of a destination map in runs that share their taps. */
#ifndef TINYTL_INTERNAL_WALK_H
#define TINYTL_INTERNAL_WALK_H

#include "internal/axis.h"

/* One tap: where it reads, relative to the run's map, and where its kernel values begin in the packed panel. */
typedef struct tinytl_internal_tap {
  int32_t source;
  int32_t panel;
} tinytl_internal_tap;

/* `count` destination pixels, destination_step elements apart, from element `destination` on; the sources of their taps
 * are source_step elements apart. Offsets count from the first sample's first element. */
typedef struct tinytl_internal_run {
  const tinytl_internal_tap *taps;
  int32_t tap_count;
  int32_t count;
  int32_t destination, destination_step;
  int32_t source_step;
} tinytl_internal_run;

typedef void (*tinytl_internal_visit)(const void *context, const tinytl_internal_run *run);

typedef struct tinytl_internal_walk {
  tinytl_internal_axis rows, columns;
  int32_t batch;
  int32_t source_channels, destination_channels;
  int32_t panel_step; /* panel elements from one tap to the next */
} tinytl_internal_walk;

/* taps: workspace for rows.taps * columns.taps entries. */
void tinytl_internal_walk_runs(const tinytl_internal_walk *walk, tinytl_internal_tap *taps,
                               tinytl_internal_visit visit, const void *context);

/* The walk of a forward pass, or of its input gradient. The window is already cropped. panel_step is left 0. */
tinytl_internal_walk tinytl_internal_make_walk(const tinytl_shape *input, const tinytl_shape *output,
                                               const tinytl_window *window, bool backward);

#endif
