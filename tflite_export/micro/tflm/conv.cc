/* TINYTL_CONV_2D and TINYTL_CONV_2D_INPUT_GRADIENT: convolution, group convolution, pointwise and dense layers. */

#include "conv_layer.h"
#include "options.h"
#include "tinytl_ops.h"

namespace tinytl {
namespace tflm {

namespace {

enum ForwardInput { kX, kKernel, kScale, kBias };
enum ForwardOutput { kY, kMask };
enum GradientInput { kDy, kKernelBehind, kScaleBehind, kMaskBelow, kOther };

bool ReadLayer(const Node& node, const TfLiteEvalTensor* x, const TfLiteEvalTensor* y, ConvLayer* layer) {
  tinytl_conv_params* params = &layer->params;
  if (!ReadWindow(node, &params->window, &params->groups, &params->activation)) return false;
  const TfLiteEvalTensor* kernel = node.input(kKernel);
  const bool is_float = kernel && kernel->type == kTfLiteFloat32;
  if (!ReadConvShapes(node, x, y, kernel, is_float ? kTfLiteFloat32 : kTfLiteInt8, layer)) return false;
  if (is_float) return node.Expect(!node.input(kScale), "a scale belongs to int8 kernels, and this one is float32");
  return node.Elements(node.input(kScale), "the scale", kTfLiteFloat32, params->output.channels);
}

size_t WorkspaceBytes(const ConvLayer& layer) {
  const tinytl_pointwise_params pointwise = Pointwise(layer);
  return layer.is_pointwise ? tinytl_pointwise_workspace_bytes(&pointwise)
                            : tinytl_conv_workspace_bytes(&layer.params);
}

TfLiteStatus PrepareForward(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_CONV_2D");
  ConvLayer* layer = node.state<ConvLayer>();
  if (!node.HasState()) return kTfLiteError;
  if (!node.CountIs(2, 4, 1, 2) || !ReadLayer(node, node.input(kX), node.output(kY), layer)) return kTfLiteError;
  const tinytl_shape& y = layer->params.output;
  if (node.input(kBias) && !node.Elements(node.input(kBias), "the bias", kTfLiteFloat32, y.channels)) {
    return kTfLiteError;
  }
  const int64_t mask_bytes = static_cast<int64_t>(tinytl_mask_bytes(tinytl_pixels(&y), y.channels));
  if (node.output(kMask) && !node.Elements(node.output(kMask), "the mask", kTfLiteUInt8, mask_bytes)) {
    return kTfLiteError;
  }
  return node.RequestWorkspace(WorkspaceBytes(*layer), &layer->workspace) ? kTfLiteOk : kTfLiteError;
}

TfLiteStatus InvokeForward(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_CONV_2D");
  const ConvLayer& layer = *node.state<ConvLayer>();
  const tinytl_pointwise_params pointwise = Pointwise(layer);
  const float* x = node.in<float>(kX);
  const float* scale = node.in<float>(kScale);
  const float* bias = node.in<float>(kBias);
  float* y = node.out<float>(kY);
  uint8_t* mask = node.out<uint8_t>(kMask);
  void* workspace = node.workspace(layer.workspace);
  const size_t bytes = WorkspaceBytes(layer);
  if (layer.is_float) {
    const float* kernel = node.in<float>(kKernel);
    return node.Report(
        layer.is_pointwise
            ? tinytl_pointwise_forward_f32(&pointwise, x, kernel, bias, y, mask, workspace, bytes)
            : tinytl_conv_forward_f32(&layer.params, x, kernel, bias, y, mask, workspace, bytes));
  }
  const int8_t* kernel = node.in<int8_t>(kKernel);
  return node.Report(
      layer.is_pointwise
          ? tinytl_pointwise_forward(&pointwise, x, kernel, scale, bias, y, mask, workspace, bytes)
          : tinytl_conv_forward(&layer.params, x, kernel, scale, bias, y, mask, workspace, bytes));
}

TfLiteStatus PrepareInputGradient(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_CONV_2D_INPUT_GRADIENT");
  ConvLayer* layer = node.state<ConvLayer>();
  if (!node.HasState()) return kTfLiteError;
  if (!node.CountIs(2, 5, 1, 1) || !ReadLayer(node, node.output(0), node.input(kDy), layer)) return kTfLiteError;
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
  return node.RequestWorkspace(WorkspaceBytes(*layer), &layer->workspace) ? kTfLiteOk : kTfLiteError;
}

TfLiteStatus InvokeInputGradient(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_CONV_2D_INPUT_GRADIENT");
  const ConvLayer& layer = *node.state<ConvLayer>();
  const tinytl_pointwise_params pointwise = Pointwise(layer);
  const float* dy = node.in<float>(kDy);
  const float* scale = node.in<float>(kScaleBehind);
  const uint8_t* mask_below = node.in<uint8_t>(kMaskBelow);
  const float* other = node.in<float>(kOther);
  float* dx = node.out<float>(0);
  void* workspace = node.workspace(layer.workspace);
  const size_t bytes = WorkspaceBytes(layer);
  const bool accumulate = other != nullptr;
  if (accumulate) CopyFloats(other, CountElements(node.output(0)), dx);
  if (layer.is_float) {
    const float* kernel = node.in<float>(kKernelBehind);
    return node.Report(layer.is_pointwise
                           ? tinytl_pointwise_input_gradient_f32(&pointwise, dy, kernel, mask_below, accumulate, dx,
                                                                 workspace, bytes)
                           : tinytl_conv_input_gradient_f32(&layer.params, dy, kernel, mask_below, accumulate, dx,
                                                            workspace, bytes));
  }
  const int8_t* kernel = node.in<int8_t>(kKernelBehind);
  return node.Report(layer.is_pointwise
                         ? tinytl_pointwise_input_gradient(&pointwise, dy, kernel, scale, mask_below, accumulate, dx,
                                                           workspace, bytes)
                         : tinytl_conv_input_gradient(&layer.params, dy, kernel, scale, mask_below, accumulate, dx,
                                                      workspace, bytes));
}

}  // namespace

TFLMRegistration RegisterConv2D() { return MakeRegistration(Init<ConvLayer>, PrepareForward, InvokeForward); }

TFLMRegistration RegisterConv2DInputGradient() {
  return MakeRegistration(Init<ConvLayer>, PrepareInputGradient, InvokeInputGradient);
}

}  // namespace tflm
}  // namespace tinytl
