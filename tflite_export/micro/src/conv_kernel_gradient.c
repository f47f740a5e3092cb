#include "internal/convolve.h"
#include "internal/kernel_gradient.h"

tinytl_status tinytl_conv_kernel_gradient(const tinytl_conv_params *params, const float *x, const float *dy,
                                          float *gradient) {
  if (!params || !gradient) return TINYTL_ERROR_NULL;
  const tinytl_internal_sink sink = {.gradient = gradient};
  return tinytl_internal_kernel_gradient(params, x, dy, &sink);
}
