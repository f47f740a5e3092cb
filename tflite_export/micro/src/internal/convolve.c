#include "internal/convolve.h"

#include "internal/check.h"
#include "internal/gemm.h"
#include "internal/rows.h"

bool tinytl_internal_is_conv(const tinytl_conv_params *params) {
  return tinytl_internal_fits(&params->input, &params->output, &params->window) && params->groups >= 1 &&
         params->input.channels % params->groups == 0 && params->output.channels % params->groups == 0;
}

bool tinytl_internal_is_pointwise(const tinytl_pointwise_params *params) {
  return params->pixels >= 1 && params->input_channels >= 1 && params->output_channels >= 1;
}

tinytl_conv_params tinytl_internal_as_conv(const tinytl_pointwise_params *params) {
  const tinytl_conv_params conv = {.input = {1, 1, params->pixels, params->input_channels},
                                   .output = {1, 1, params->pixels, params->output_channels},
                                   .window = {1, 1, 1, 1, 0, 0},
                                   .groups = 1,
                                   .activation = params->activation};
  return conv;
}

static tinytl_internal_windows_job job_of(const tinytl_conv_params *params, const void *kernel, const float *scale,
                                          void *workspace) {
  const tinytl_internal_windows_job job = {.input = &params->input,
                                           .output = &params->output,
                                           .window = &params->window,
                                           .groups = params->groups,
                                           .kernel = kernel,
                                           .scale = scale,
                                           .workspace = workspace};
  return job;
}

tinytl_status tinytl_internal_conv_forward(const tinytl_conv_params *params, const float *x, const void *kernel,
                                           const float *scale, const float *bias, float *y, uint8_t *mask,
                                           void *workspace, size_t workspace_bytes) {
  if (!params || !x || !kernel || !y || !workspace) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_conv(params)) return TINYTL_ERROR_SHAPE;
  if (!tinytl_internal_is_activation(params->activation)) return TINYTL_ERROR_ARGUMENT;
  if (workspace_bytes < tinytl_conv_workspace_bytes(params)) return TINYTL_ERROR_WORKSPACE;
  tinytl_internal_windows_job job = job_of(params, kernel, scale, workspace);
  job.bias = bias;
  job.source = x;
  job.destination = y;
  tinytl_internal_run_windows(&job);
  tinytl_internal_activate_rows(y, tinytl_pixels(&params->output), params->output.channels, params->activation, mask);
  return TINYTL_OK;
}

tinytl_status tinytl_internal_conv_input_gradient(const tinytl_conv_params *params, const float *dy,
                                                  const void *kernel, const float *scale, const uint8_t *mask_below,
                                                  bool accumulate, float *dx, void *workspace,
                                                  size_t workspace_bytes) {
  if (!params || !dy || !kernel || !dx || !workspace) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_conv(params)) return TINYTL_ERROR_SHAPE;
  if (workspace_bytes < tinytl_conv_workspace_bytes(params)) return TINYTL_ERROR_WORKSPACE;
  tinytl_internal_windows_job job = job_of(params, kernel, scale, workspace);
  job.backward = true;
  job.accumulate = accumulate;
  job.source = dy;
  job.destination = dx;
  tinytl_internal_run_windows(&job);
  if (mask_below) {
    tinytl_internal_mask_rows(dx, mask_below, tinytl_pixels(&params->input), params->input.channels, dx);
  }
  return TINYTL_OK;
}
