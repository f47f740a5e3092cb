/* Bilinear resize with half-pixel centres, corners not aligned (TensorFlow's and PyTorch's align_corners=False):
 * output row i reads the input at (i + 0.5) * input height / output height - 0.5, clamped to the map.
 * Up or down, any sizes; batch and channels of input and output agree. No antialiasing. */
#ifndef TINYTL_RESIZE_H
#define TINYTL_RESIZE_H

#include "tinytl/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tinytl_resize_params {
  tinytl_shape input;
  tinytl_shape output;
} tinytl_resize_params;

/* accumulate: y += instead of y =, so that a branch's end adds itself to the main branch. */
tinytl_status tinytl_resize_bilinear_forward(const tinytl_resize_params *params, const float *x, bool accumulate,
                                             float *y);

/* dx [input] from dy [output]; accumulate: dx += instead of dx =. dx must not overlap dy. */
tinytl_status tinytl_resize_bilinear_input_gradient(const tinytl_resize_params *params, const float *dy,
                                                    bool accumulate, float *dx);

#ifdef __cplusplus
}
#endif
#endif
