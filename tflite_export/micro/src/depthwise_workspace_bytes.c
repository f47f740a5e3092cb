#include "internal/depthwise.h"

size_t tinytl_depthwise_workspace_bytes(const tinytl_depthwise_params *params) {
  if (!params) return 0;
  const size_t taps = (size_t)params->window.height * (size_t)params->window.width;
  const int32_t blocks = (params->input.channels + TINYTL_DEPTHWISE_BLOCK - 1) / TINYTL_DEPTHWISE_BLOCK;
  const size_t block_bytes = taps * TINYTL_DEPTHWISE_BLOCK * sizeof(float);
  return taps * sizeof(tinytl_internal_tap) + block_bytes * (size_t)tinytl_internal_min(blocks, TINYTL_DEPTHWISE_BLOCKS);
}
