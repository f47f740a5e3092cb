#include "internal/convolve.h"
#include "internal/kernel_gradient.h"

tinytl_status tinytl_pointwise_kernel_update(const tinytl_pointwise_params *params, const float *x, const float *dy,
                                             const tinytl_variable *kernel, const tinytl_optimizer *optimizer) {
  if (!params) return TINYTL_ERROR_NULL;
  const tinytl_status status = tinytl_internal_check_update(optimizer, kernel);
  if (status != TINYTL_OK) return status;
  const tinytl_internal_sink sink = {.variable = kernel, .optimizer = optimizer};
  const tinytl_conv_params conv = tinytl_internal_as_conv(params);
  return tinytl_internal_kernel_gradient(&conv, x, dy, &sink);
}
