#include "conv_layer.h"

#include "internal/check.h"

namespace tinytl {
namespace tflm {

namespace {

bool IsPointwise(const tinytl_window& window, int32_t groups) {
  return window.height == 1 && window.width == 1 && window.stride_height == 1 && window.stride_width == 1 &&
         groups == 1;
}

}  // namespace

bool ReadConvShapes(const Node& node, const TfLiteEvalTensor* x, const TfLiteEvalTensor* y,
                    const TfLiteEvalTensor* kernel, TfLiteType kernel_type, ConvLayer* layer) {
  tinytl_conv_params* params = &layer->params;
  tinytl_shape shape;
  if (!node.Map(x, "the input map", kTfLiteFloat32, &params->input)) return false;
  if (!node.Map(y, "the output map", kTfLiteFloat32, &params->output)) return false;
  if (!node.Map(kernel, "the kernel", kernel_type, &shape)) return false;
  params->window.height = shape.height;
  params->window.width = shape.width;
  const int32_t groups = params->groups;
  if (!node.Expect(groups >= 1 && params->input.channels % groups == 0 && params->output.channels % groups == 0,
                   "groups do not divide the channels of input and output")) {
    return false;
  }
  if (!node.Same("output channels of the kernel", shape.batch, params->output.channels)) return false;
  if (!node.Same("input channels of the kernel", shape.channels, params->input.channels / groups)) return false;
  if (!node.Expect(tinytl_internal_fits(&params->input, &params->output, &params->window),
                   "input, output, window, strides and padding do not fit together (tinytl_window)")) {
    return false;
  }
  layer->is_float = kernel_type == kTfLiteFloat32;
  layer->is_pointwise = IsPointwise(params->window, groups);
  return !layer->is_pointwise ||
         node.Same("pixels of the output", tinytl_pixels(&params->output), tinytl_pixels(&params->input));
}

tinytl_pointwise_params Pointwise(const ConvLayer& layer) {
  return {tinytl_pixels(&layer.params.input), layer.params.input.channels, layer.params.output.channels,
          layer.params.activation};
}

}  // namespace tflm
}  // namespace tinytl
