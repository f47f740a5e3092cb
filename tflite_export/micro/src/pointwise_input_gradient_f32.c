#include "internal/convolve.h"

tinytl_status tinytl_pointwise_input_gradient_f32(const tinytl_pointwise_params *params, const float *dy,
                                                  const float *kernel, const uint8_t *mask_below, bool accumulate,
                                                  float *dx, void *workspace, size_t workspace_bytes) {
  if (!params) return TINYTL_ERROR_NULL;
  const tinytl_conv_params conv = tinytl_internal_as_conv(params);
  return tinytl_internal_conv_input_gradient(&conv, dy, kernel, NULL, mask_below, accumulate, dx, workspace,
                                             workspace_bytes);
}
