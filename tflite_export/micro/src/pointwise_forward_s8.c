#include "internal/convolve.h"
#include "internal/convolve_s8.h"

tinytl_status tinytl_pointwise_forward_s8(const tinytl_pointwise_params *params,
                                          const tinytl_requantization *requantization, const int8_t *x,
                                          const int8_t *kernel, const int32_t *bias, int8_t *y, uint8_t *mask,
                                          void *workspace, size_t workspace_bytes) {
  if (!params) return TINYTL_ERROR_NULL;
  const tinytl_conv_params conv = tinytl_internal_as_conv(params);
  return tinytl_internal_conv_forward_s8(&conv, requantization, x, kernel, bias, y, mask, workspace,
                                         workspace_bytes);
}
