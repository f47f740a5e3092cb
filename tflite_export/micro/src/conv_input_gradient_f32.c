#include "internal/convolve.h"

tinytl_status tinytl_conv_input_gradient_f32(const tinytl_conv_params *params, const float *dy, const float *kernel,
                                             const uint8_t *mask_below, bool accumulate, float *dx, void *workspace,
                                             size_t workspace_bytes) {
  return tinytl_internal_conv_input_gradient(params, dy, kernel, NULL, mask_below, accumulate, dx, workspace,
                                             workspace_bytes);
}
