#include "internal/convolve.h"

tinytl_status tinytl_conv_forward_f32(const tinytl_conv_params *params, const float *x, const float *kernel,
                                      const float *bias, float *y, uint8_t *mask, void *workspace,
                                      size_t workspace_bytes) {
  return tinytl_internal_conv_forward(params, x, kernel, NULL, bias, y, mask, workspace, workspace_bytes);
}
