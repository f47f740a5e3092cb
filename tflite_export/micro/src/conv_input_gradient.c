#include "internal/convolve.h"

tinytl_status tinytl_conv_input_gradient(const tinytl_conv_params *params, const float *dy, const int8_t *kernel,
                                         const float *scale, const uint8_t *mask_below, bool accumulate, float *dx,
                                         void *workspace, size_t workspace_bytes) {
  if (!scale) return TINYTL_ERROR_NULL;
  return tinytl_internal_conv_input_gradient(params, dy, kernel, scale, mask_below, accumulate, dx, workspace,
                                             workspace_bytes);
}
