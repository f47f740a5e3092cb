#include "internal/convolve_s8.h"

tinytl_status tinytl_conv_forward_s8(const tinytl_conv_params *params, const tinytl_requantization *requantization,
                                     const int8_t *x, const int8_t *kernel, const int32_t *bias, int8_t *y,
                                     uint8_t *mask, void *workspace, size_t workspace_bytes) {
  return tinytl_internal_conv_forward_s8(params, requantization, x, kernel, bias, y, mask, workspace,
                                         workspace_bytes);
}
