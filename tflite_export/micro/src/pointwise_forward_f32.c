#include "internal/convolve.h"

tinytl_status tinytl_pointwise_forward_f32(const tinytl_pointwise_params *params, const float *x, const float *kernel,
                                           const float *bias, float *y, uint8_t *mask, void *workspace,
                                           size_t workspace_bytes) {
  if (!params) return TINYTL_ERROR_NULL;
  const tinytl_conv_params conv = tinytl_internal_as_conv(params);
  return tinytl_internal_conv_forward(&conv, x, kernel, NULL, bias, y, mask, workspace, workspace_bytes);
}
