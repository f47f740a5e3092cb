#include "internal/cmsis_nn.h"

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

size_t tinytl_conv_workspace_bytes_s8(const tinytl_conv_params *params) {
  if (!params || params->groups < 1) return 0;
  const size_t taps = (size_t)params->window.height * (size_t)params->window.width;
  const size_t quads = (size_t)((params->input.channels / params->groups + 3) / 4);
  const size_t panel = taps * 8u + taps * quads * 32u;
  return larger(larger(panel, tinytl_conv_workspace_bytes(params)), tinytl_internal_cmsis_conv_bytes(params));
}
