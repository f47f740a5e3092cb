/* Pooling: average, max and global average, forward and backward. Channels of input and output agree. */
#ifndef TINYTL_POOLING_H
#define TINYTL_POOLING_H

#include "tinytl/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* No window lies wholly outside the input. */
typedef struct tinytl_pool_params {
  tinytl_shape input;
  tinytl_shape output;
  tinytl_window window;
} tinytl_pool_params;

/* The mean of the window's elements that lie inside the input (TensorFlow's rule for padding). */
tinytl_status tinytl_average_pool_forward(const tinytl_pool_params *params, const float *x, float *y);

/* dx = gradient in x, from dy [output]. accumulate: dx += instead of dx =. mask_below (of dx's shape, or NULL)
 * multiplies the result, accumulated part included. dx must not overlap dy. */
tinytl_status tinytl_average_pool_input_gradient(const tinytl_pool_params *params, const float *dy,
                                                 const uint8_t *mask_below, bool accumulate, float *dx);

/* The maximum of the window. argmax [output] or NULL: which tap won, row * window width + column, the first on a tie.
 * Legal: window height * width <= 256. A window that holds a NaN gives any of its elements. */
tinytl_status tinytl_max_pool_forward(const tinytl_pool_params *params, const float *x, float *y, uint8_t *argmax);

tinytl_status tinytl_max_pool_input_gradient(const tinytl_pool_params *params, const float *dy, const uint8_t *argmax,
                                             const uint8_t *mask_below, bool accumulate, float *dx);

/* y [batch, channels] = mean over height and width of x [shape]. */
tinytl_status tinytl_global_average_forward(const tinytl_shape *shape, const float *x, float *y);

/* dx [shape] from dy [batch, channels]; accumulate and mask_below as above. */
tinytl_status tinytl_global_average_input_gradient(const tinytl_shape *shape, const float *dy,
                                                   const uint8_t *mask_below, bool accumulate, float *dx);

#ifdef __cplusplus
}
#endif
#endif
