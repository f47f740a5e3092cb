#include "internal/gemm.h"
#include "tinytl/convolution.h"

size_t tinytl_conv_workspace_bytes(const tinytl_conv_params *params) {
  if (!params || params->groups < 1) return 0;
  const int32_t channels = tinytl_internal_max(params->input.channels, params->output.channels) / params->groups;
  return tinytl_internal_windows_workspace_bytes(&params->window, channels);
}
