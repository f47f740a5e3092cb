/* The core of depthwise convolution, forward and input gradient alike: destination[pixel][c] = start[c] + sum over taps
 * of source[pixel + tap][c] * kernel[tap][c]. Blocks of 8 channels; a block's kernel is unpacked to float once, with its
 * scale, as panel [taps][8]. */
#ifndef TINYTL_INTERNAL_DEPTHWISE_H
#define TINYTL_INTERNAL_DEPTHWISE_H

#include "internal/walk.h"
#include "tinytl/depthwise.h"

#define TINYTL_DEPTHWISE_BLOCK 8
#define TINYTL_DEPTHWISE_BLOCKS 4 /* at most so many blocks share one walk over the map */

typedef struct tinytl_internal_depthwise {
  const float *source;
  float *destination;
  const float *start; /* channels floats, or NULL for what the destination holds */
  const float *panel;
  int32_t panel_block; /* elements from one block's panel to the next */
  int32_t channels;    /* of this walk, at most 8 * TINYTL_DEPTHWISE_BLOCKS */
} tinytl_internal_depthwise;

/* A tinytl_internal_visit whose context is a tinytl_internal_depthwise. */
void tinytl_internal_depthwise_run(const void *depthwise, const tinytl_internal_run *run);

bool tinytl_internal_is_depthwise(const tinytl_depthwise_params *params);

/* bias float[channels] or NULL; accumulate: start from what the destination holds. */
void tinytl_internal_run_depthwise(const tinytl_depthwise_params *params, bool backward, const float *source,
                                   const int8_t *kernel, const float *scale, const float *bias, bool accumulate,
                                   float *destination, void *workspace);

#endif
