/* int8 convolution: the walk of the float one, sums in int32. */
#ifndef TINYTL_INTERNAL_CONVOLVE_S8_H
#define TINYTL_INTERNAL_CONVOLVE_S8_H

#include "tinytl/quantized.h"

tinytl_status tinytl_internal_conv_forward_s8(const tinytl_conv_params *params,
                                              const tinytl_requantization *requantization, const int8_t *x,
                                              const int8_t *kernel, const int32_t *bias, int8_t *y, uint8_t *mask,
                                              void *workspace, size_t workspace_bytes);

#endif
