#include "internal/check.h"
#include "internal/depthwise.h"
#include "internal/rows.h"

tinytl_status tinytl_depthwise_forward(const tinytl_depthwise_params *params, const float *x, const int8_t *kernel,
                                       const float *scale, const float *bias, float *y, uint8_t *mask, void *workspace,
                                       size_t workspace_bytes) {
  if (!params || !x || !kernel || !scale || !y || !workspace) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_depthwise(params)) return TINYTL_ERROR_SHAPE;
  if (!tinytl_internal_is_activation(params->activation)) return TINYTL_ERROR_ARGUMENT;
  if (workspace_bytes < tinytl_depthwise_workspace_bytes(params)) return TINYTL_ERROR_WORKSPACE;
  tinytl_internal_run_depthwise(params, false, x, kernel, scale, bias, false, y, workspace);
  tinytl_internal_activate_rows(y, tinytl_pixels(&params->output), params->output.channels, params->activation, mask);
  return TINYTL_OK;
}
