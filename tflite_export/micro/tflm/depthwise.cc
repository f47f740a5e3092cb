/* TINYTL_DEPTHWISE_CONV_2D and TINYTL_DEPTHWISE_CONV_2D_INPUT_GRADIENT, int8 kernels. */

#include "internal/check.h"
#include "options.h"
#include "tinytl_ops.h"

namespace tinytl {
namespace tflm {

namespace {

enum ForwardInput { kX, kKernel, kScale, kBias };
enum ForwardOutput { kY, kMask };
enum GradientInput { kDy, kKernelBehind, kScaleBehind, kMaskBelow, kOther };

struct DepthwiseLayer {
  tinytl_depthwise_params params;
  int workspace;
};

bool ReadLayer(const Node& node, const TfLiteEvalTensor* x, const TfLiteEvalTensor* y, DepthwiseLayer* layer) {
  tinytl_depthwise_params* params = &layer->params;
  int32_t groups;
  tinytl_shape kernel;
  if (!ReadWindow(node, &params->window, &groups, &params->activation)) return false;
  if (!node.Same("groups of a depthwise convolution", groups, 1)) return false;
  if (!node.Map(x, "the input map", kTfLiteFloat32, &params->input)) return false;
  if (!node.Map(y, "the output map", kTfLiteFloat32, &params->output)) return false;
  if (!node.Map(node.input(kKernel), "the kernel", kTfLiteInt8, &kernel)) return false;
  const int32_t channels = params->input.channels;
  params->window.height = kernel.height;
  params->window.width = kernel.width;
  if (!node.Same("first dimension of the kernel", kernel.batch, 1)) return false;
  if (!node.Same("channels of the kernel", kernel.channels, channels)) return false;
  if (!node.Same("channels of the output", params->output.channels, channels)) return false;
  if (!node.Elements(node.input(kScale), "the scale", kTfLiteFloat32, channels)) return false;
  if (!node.Expect(tinytl_internal_fits(&params->input, &params->output, &params->window),
                   "input, output, window, strides and padding do not fit together (tinytl_window)")) {
    return false;
  }
  return node.RequestWorkspace(tinytl_depthwise_workspace_bytes(params), &layer->workspace);
}

TfLiteStatus PrepareForward(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_DEPTHWISE_CONV_2D");
  DepthwiseLayer* layer = node.state<DepthwiseLayer>();
  if (!node.HasState()) return kTfLiteError;
  if (!node.CountIs(3, 4, 1, 2) || !ReadLayer(node, node.input(kX), node.output(kY), layer)) return kTfLiteError;
  const tinytl_shape& y = layer->params.output;
  if (node.input(kBias) && !node.Elements(node.input(kBias), "the bias", kTfLiteFloat32, y.channels)) {
    return kTfLiteError;
  }
  const int64_t mask_bytes = static_cast<int64_t>(tinytl_mask_bytes(tinytl_pixels(&y), y.channels));
  if (node.output(kMask) && !node.Elements(node.output(kMask), "the mask", kTfLiteUInt8, mask_bytes)) {
    return kTfLiteError;
  }
  return kTfLiteOk;
}

TfLiteStatus InvokeForward(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_DEPTHWISE_CONV_2D");
  const DepthwiseLayer& layer = *node.state<DepthwiseLayer>();
  return node.Report(tinytl_depthwise_forward(
      &layer.params, node.in<float>(kX), node.in<int8_t>(kKernel), node.in<float>(kScale), node.in<float>(kBias),
      node.out<float>(kY), node.out<uint8_t>(kMask), node.workspace(layer.workspace),
      tinytl_depthwise_workspace_bytes(&layer.params)));
}

TfLiteStatus PrepareInputGradient(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_DEPTHWISE_CONV_2D_INPUT_GRADIENT");
  DepthwiseLayer* layer = node.state<DepthwiseLayer>();
  if (!node.HasState()) return kTfLiteError;
  if (!node.CountIs(3, 5, 1, 1) || !ReadLayer(node, node.output(0), node.input(kDy), layer)) return kTfLiteError;
  if (!node.Same("activation of an input gradient", layer->params.activation, 0)) return kTfLiteError;
  const tinytl_shape& dx = layer->params.input;
  const int64_t mask_bytes = static_cast<int64_t>(tinytl_mask_bytes(tinytl_pixels(&dx), dx.channels));
  if (node.input(kMaskBelow) && !node.Elements(node.input(kMaskBelow), "mask_below", kTfLiteUInt8, mask_bytes)) {
    return kTfLiteError;
  }
  const int64_t elements = CountElements(node.output(0));
  if (node.input(kOther) && !node.Elements(node.input(kOther), "the other gradient", kTfLiteFloat32, elements)) {
    return kTfLiteError;
  }
  return kTfLiteOk;
}

TfLiteStatus InvokeInputGradient(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_DEPTHWISE_CONV_2D_INPUT_GRADIENT");
  const DepthwiseLayer& layer = *node.state<DepthwiseLayer>();
  const float* other = node.in<float>(kOther);
  float* dx = node.out<float>(0);
  if (other) CopyFloats(other, CountElements(node.output(0)), dx);
  return node.Report(tinytl_depthwise_input_gradient(
      &layer.params, node.in<float>(kDy), node.in<int8_t>(kKernelBehind), node.in<float>(kScaleBehind),
      node.in<uint8_t>(kMaskBelow), other != nullptr, dx, node.workspace(layer.workspace),
      tinytl_depthwise_workspace_bytes(&layer.params)));
}

}  // namespace

TFLMRegistration RegisterDepthwiseConv2D() {
  return MakeRegistration(Init<DepthwiseLayer>, PrepareForward, InvokeForward);
}

TFLMRegistration RegisterDepthwiseConv2DInputGradient() {
  return MakeRegistration(Init<DepthwiseLayer>, PrepareInputGradient, InvokeInputGradient);
}

}  // namespace tflm
}  // namespace tinytl
