/* What the two kernel types of a public function share: checks, then the windows job. kernel is int8_t with scale, or
 * float with scale NULL. */
#ifndef TINYTL_INTERNAL_CONVOLVE_H
#define TINYTL_INTERNAL_CONVOLVE_H

#include "tinytl/convolution.h"
#include "tinytl/pointwise.h"

bool tinytl_internal_is_conv(const tinytl_conv_params *params);
bool tinytl_internal_is_pointwise(const tinytl_pointwise_params *params);

tinytl_status tinytl_internal_conv_forward(const tinytl_conv_params *params, const float *x, const void *kernel,
                                           const float *scale, const float *bias, float *y, uint8_t *mask,
                                           void *workspace, size_t workspace_bytes);

tinytl_status tinytl_internal_conv_input_gradient(const tinytl_conv_params *params, const float *dy,
                                                  const void *kernel, const float *scale, const uint8_t *mask_below,
                                                  bool accumulate, float *dx, void *workspace, size_t workspace_bytes);

/* A pointwise convolution is a 1x1 window on a map of one row. */
tinytl_conv_params tinytl_internal_as_conv(const tinytl_pointwise_params *params);

#endif
