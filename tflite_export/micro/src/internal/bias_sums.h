/* The sums of a bias gradient, 8 channels at a time. */
#ifndef TINYTL_INTERNAL_BIAS_SUMS_H
#define TINYTL_INTERNAL_BIAS_SUMS_H

#include "tinytl/types.h"

#define TINYTL_BIAS_BLOCK 8

/* sums[0..count) over all pixels of channels [channel, channel + count), channel a multiple of 8, count <= 8; where mask
 * is not NULL, dy is masked on the way. */
void tinytl_internal_bias_sums(float *dy, const uint8_t *mask, int32_t pixels, int32_t channels, int32_t channel,
                               int32_t count, float *sums);

#endif
