#include "internal/convolve.h"
#include "tinytl/quantized.h"

size_t tinytl_pointwise_workspace_bytes_s8(const tinytl_pointwise_params *params) {
  if (!params) return 0;
  const tinytl_conv_params conv = tinytl_internal_as_conv(params);
  return tinytl_conv_workspace_bytes_s8(&conv);
}
