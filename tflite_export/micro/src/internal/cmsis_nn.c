#include "internal/cmsis_nn.h"

/* A translation unit holds at least one declaration. */
typedef int tinytl_internal_cmsis_nn_is_optional;

#ifdef TINYTL_USE_CMSIS_NN

#include <string.h>

#include "arm_nnfunctions.h"

static cmsis_nn_dims dims_of(const tinytl_shape *shape) {
  const cmsis_nn_dims dims = {.n = shape->batch, .h = shape->height, .w = shape->width, .c = shape->channels};
  return dims;
}

/* CMSIS-NN reads these arrays only, but its struct does not say so. */
static cmsis_nn_per_channel_quant_params quant_params_of(const tinytl_requantization *r) {
  const cmsis_nn_per_channel_quant_params params = {.multiplier = (int32_t *)(uintptr_t)r->multiplier,
                                                    .shift = (int32_t *)(uintptr_t)r->shift};
  return params;
}

static cmsis_nn_conv_params conv_params_of(const tinytl_window *window, const tinytl_requantization *r) {
  cmsis_nn_conv_params params = {.stride = {.w = window->stride_width, .h = window->stride_height},
                                 .padding = {.w = window->pad_left, .h = window->pad_top},
                                 .dilation = {.w = 1, .h = 1}};
  if (r) {
    params.input_offset = -r->input_zero_point;
    params.output_offset = r->output_zero_point;
    params.activation.min = r->activation_min;
    params.activation.max = r->activation_max;
  }
  return params;
}

static cmsis_nn_dw_conv_params depthwise_params_of(const tinytl_window *window, const tinytl_requantization *r) {
  const cmsis_nn_conv_params conv = conv_params_of(window, r);
  const cmsis_nn_dw_conv_params params = {.input_offset = conv.input_offset,
                                          .output_offset = conv.output_offset,
                                          .ch_mult = 1,
                                          .stride = conv.stride,
                                          .padding = conv.padding,
                                          .dilation = conv.dilation,
                                          .activation = conv.activation};
  return params;
}

static cmsis_nn_dims conv_filter(const tinytl_conv_params *params) {
  const cmsis_nn_dims dims = {.n = params->output.channels,
                              .h = params->window.height,
                              .w = params->window.width,
                              .c = params->input.channels / params->groups};
  return dims;
}

static cmsis_nn_dims depthwise_filter(const tinytl_depthwise_params *params) {
  const cmsis_nn_dims dims = {
      .n = 1, .h = params->window.height, .w = params->window.width, .c = params->output.channels};
  return dims;
}

static void write_mask(const tinytl_requantization *r, const tinytl_shape *shape, const int8_t *y, uint8_t *mask) {
  memset(mask, 0, tinytl_mask_bytes(tinytl_pixels(shape), shape->channels));
  for (int32_t pixel = tinytl_pixels(shape); pixel > 0; --pixel) {
    for (int32_t c = 0; c < shape->channels; ++c, ++y) {
      if (*y > r->activation_min && *y < r->activation_max) mask[c >> 3] = (uint8_t)(mask[c >> 3] | 1u << (c & 7));
    }
    mask += tinytl_mask_bytes(1, shape->channels);
  }
}

static size_t bytes_of(int32_t size) { return size > 0 ? (size_t)size : 0; }

size_t tinytl_internal_cmsis_conv_bytes(const tinytl_conv_params *params) {
  const cmsis_nn_conv_params conv = conv_params_of(&params->window, NULL);
  const cmsis_nn_dims input = dims_of(&params->input), output = dims_of(&params->output), filter = conv_filter(params);
  return bytes_of(arm_convolve_wrapper_s8_get_buffer_size(&conv, &input, &filter, &output));
}

size_t tinytl_internal_cmsis_depthwise_bytes(const tinytl_depthwise_params *params) {
  const cmsis_nn_dw_conv_params conv = depthwise_params_of(&params->window, NULL);
  const cmsis_nn_dims input = dims_of(&params->input), output = dims_of(&params->output),
                      filter = depthwise_filter(params);
  return bytes_of(arm_depthwise_conv_wrapper_s8_get_buffer_size(&conv, &input, &filter, &output));
}

bool tinytl_internal_cmsis_conv(const tinytl_conv_params *params, const tinytl_requantization *requantization,
                                const int8_t *x, const int8_t *kernel, const int32_t *bias, int8_t *y, uint8_t *mask,
                                void *workspace, size_t workspace_bytes) {
  /* From its second group on, arm_convolve_s8 moves a NULL bias along as if it were one. */
  if (params->groups > 1 && !bias) return false;
  if (tinytl_internal_cmsis_conv_bytes(params) > workspace_bytes) return false;
  const cmsis_nn_context context = {.buf = workspace, .size = (int32_t)workspace_bytes};
  const cmsis_nn_conv_params conv = conv_params_of(&params->window, requantization);
  const cmsis_nn_per_channel_quant_params quant = quant_params_of(requantization);
  const cmsis_nn_dims input = dims_of(&params->input), output = dims_of(&params->output), filter = conv_filter(params);
  const cmsis_nn_dims bias_dims = {.n = 1, .h = 1, .w = 1, .c = params->output.channels};
  if (arm_convolve_wrapper_s8(&context, &conv, &quant, &input, x, &filter, kernel, &bias_dims, bias, &output, y) !=
      ARM_CMSIS_NN_SUCCESS) {
    return false;
  }
  if (mask) write_mask(requantization, &params->output, y, mask);
  return true;
}

bool tinytl_internal_cmsis_depthwise(const tinytl_depthwise_params *params,
                                     const tinytl_requantization *requantization, const int8_t *x,
                                     const int8_t *kernel, const int32_t *bias, int8_t *y, uint8_t *mask,
                                     void *workspace, size_t workspace_bytes) {
  if (tinytl_internal_cmsis_depthwise_bytes(params) > workspace_bytes) return false;
  const cmsis_nn_context context = {.buf = workspace, .size = (int32_t)workspace_bytes};
  const cmsis_nn_dw_conv_params conv = depthwise_params_of(&params->window, requantization);
  const cmsis_nn_per_channel_quant_params quant = quant_params_of(requantization);
  const cmsis_nn_dims input = dims_of(&params->input), output = dims_of(&params->output),
                      filter = depthwise_filter(params);
  const cmsis_nn_dims bias_dims = {.n = 1, .h = 1, .w = 1, .c = params->output.channels};
  if (arm_depthwise_conv_wrapper_s8(&context, &conv, &quant, &input, x, &filter, kernel, &bias_dims, bias, &output,
                                    y) != ARM_CMSIS_NN_SUCCESS) {
    return false;
  }
  if (mask) write_mask(requantization, &params->output, y, mask);
  return true;
}

#endif
