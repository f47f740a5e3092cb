#include "internal/depthwise.h"
#include "internal/rows.h"

tinytl_status tinytl_depthwise_input_gradient(const tinytl_depthwise_params *params, const float *dy,
                                              const int8_t *kernel, const float *scale, const uint8_t *mask_below,
                                              bool accumulate, float *dx, void *workspace, size_t workspace_bytes) {
  if (!params || !dy || !kernel || !scale || !dx || !workspace) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_depthwise(params)) return TINYTL_ERROR_SHAPE;
  if (workspace_bytes < tinytl_depthwise_workspace_bytes(params)) return TINYTL_ERROR_WORKSPACE;
  tinytl_internal_run_depthwise(params, true, dy, kernel, scale, NULL, accumulate, dx, workspace);
  if (mask_below) {
    tinytl_internal_mask_rows(dx, mask_below, tinytl_pixels(&params->input), params->input.channels, dx);
  }
  return TINYTL_OK;
}
