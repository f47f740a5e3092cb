#include "internal/convolve.h"
#include "internal/kernel_gradient.h"

tinytl_status tinytl_pointwise_kernel_gradient(const tinytl_pointwise_params *params, const float *x, const float *dy,
                                               float *gradient) {
  if (!params || !gradient) return TINYTL_ERROR_NULL;
  const tinytl_internal_sink sink = {.gradient = gradient};
  const tinytl_conv_params conv = tinytl_internal_as_conv(params);
  return tinytl_internal_kernel_gradient(&conv, x, dy, &sink);
}
