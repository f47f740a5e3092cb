#include "internal/cmsis_nn.h"

size_t tinytl_depthwise_workspace_bytes_s8(const tinytl_depthwise_params *params) {
  if (!params) return 0;
  const size_t own = tinytl_depthwise_workspace_bytes(params), cmsis = tinytl_internal_cmsis_depthwise_bytes(params);
  return own > cmsis ? own : cmsis;
}
