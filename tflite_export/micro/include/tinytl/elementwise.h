/* Element-wise operations on [pixels, channels]. */
#ifndef TINYTL_ELEMENTWISE_H
#define TINYTL_ELEMENTWISE_H

#include "tinytl/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y = activation(a + b); also the sum of two gradients (TINYTL_ACTIVATION_NONE). mask as of a convolution, or NULL.
 * In place: y may be a or b. Its gradient in both a and b is dy masked: tinytl_mask_apply, or nothing at all. */
tinytl_status tinytl_add(const float *a, const float *b, int32_t pixels, int32_t channels,
                         tinytl_activation activation, float *y, uint8_t *mask);

/* y = activation(x), mask as of a convolution, or NULL. In place: y may be x. Its gradient is tinytl_mask_apply. */
tinytl_status tinytl_activate(const float *x, int32_t pixels, int32_t channels, tinytl_activation activation, float *y,
                              uint8_t *mask);

/* y = x * factor + offset, each one number: an input's scaling. In place: y may be x. */
tinytl_status tinytl_scale_offset(const float *x, int32_t count, float factor, float offset, float *y);

#ifdef __cplusplus
}
#endif
#endif
