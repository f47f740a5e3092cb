#include "internal/convolve.h"

tinytl_status tinytl_conv_forward(const tinytl_conv_params *params, const float *x, const int8_t *kernel,
                                  const float *scale, const float *bias, float *y, uint8_t *mask, void *workspace,
                                  size_t workspace_bytes) {
  if (!scale) return TINYTL_ERROR_NULL;
  return tinytl_internal_conv_forward(params, x, kernel, scale, bias, y, mask, workspace, workspace_bytes);
}
