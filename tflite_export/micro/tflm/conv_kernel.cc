/* TINYTL_CONV_2D_KERNEL_GRADIENT and TINYTL_CONV_2D_KERNEL_UPDATE: float kernels, OHWI. */

#include <cstring>

#include "conv_layer.h"
#include "options.h"
#include "tinytl_ops.h"
#include "variable.h"

namespace tinytl {
namespace tflm {

namespace {

enum Input { kX, kDy, kVariable };

struct KernelUpdate {
  ConvLayer layer;
  tinytl_optimizer optimizer;
};

TfLiteStatus PrepareGradient(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_CONV_2D_KERNEL_GRADIENT");
  ConvLayer* layer = node.state<ConvLayer>();
  if (!node.HasState()) return kTfLiteError;
  tinytl_conv_params* params = &layer->params;
  if (!node.CountIs(2, 2, 1, 1)) return kTfLiteError;
  if (!ReadWindow(node, &params->window, &params->groups, &params->activation)) return kTfLiteError;
  if (!node.Same("activation of a kernel gradient", params->activation, 0)) return kTfLiteError;
  const bool fits = ReadConvShapes(node, node.input(kX), node.input(kDy), node.output(0), kTfLiteFloat32, layer);
  return fits ? kTfLiteOk : kTfLiteError;
}

TfLiteStatus InvokeGradient(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_CONV_2D_KERNEL_GRADIENT");
  const ConvLayer& layer = *node.state<ConvLayer>();
  const tinytl_pointwise_params pointwise = Pointwise(layer);
  const float* x = node.in<float>(kX);
  const float* dy = node.in<float>(kDy);
  float* gradient = node.out<float>(0);
  std::memset(gradient, 0, static_cast<size_t>(CountElements(node.output(0))) * sizeof(float));
  return node.Report(layer.is_pointwise ? tinytl_pointwise_kernel_gradient(&pointwise, x, dy, gradient)
                                        : tinytl_conv_kernel_gradient(&layer.params, x, dy, gradient));
}

TfLiteStatus PrepareUpdate(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_CONV_2D_KERNEL_UPDATE");
  KernelUpdate* update = node.state<KernelUpdate>();
  if (!node.HasState()) return kTfLiteError;
  tinytl_conv_params* params = &update->layer.params;
  if (!ReadWindowAndOptimizer(node, &params->window, &params->groups, &params->activation, &update->optimizer)) {
    return kTfLiteError;
  }
  const int tensors = VariableTensors(update->optimizer);
  if (!node.CountIs(kVariable + 2, kVariable + kVariableInputs, tensors, tensors)) return kTfLiteError;
  if (!node.Same("activation of a kernel update", params->activation, 0)) return kTfLiteError;
  const TfLiteEvalTensor* kernel = node.input(kVariable);
  if (!ReadConvShapes(node, node.input(kX), node.input(kDy), kernel, kTfLiteFloat32, &update->layer)) {
    return kTfLiteError;
  }
  return CheckVariable(node, kVariable, update->optimizer, CountElements(kernel)) ? kTfLiteOk : kTfLiteError;
}

TfLiteStatus InvokeUpdate(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_CONV_2D_KERNEL_UPDATE");
  const KernelUpdate& update = *node.state<KernelUpdate>();
  const tinytl_pointwise_params pointwise = Pointwise(update.layer);
  const float* x = node.in<float>(kX);
  const float* dy = node.in<float>(kDy);
  tinytl_optimizer optimizer = update.optimizer;
  tinytl_variable kernel;
  const tinytl_status status = BeginVariable(node, kVariable, &optimizer, &kernel);
  if (status != TINYTL_OK) return node.Report(status);
  return node.Report(update.layer.is_pointwise
                         ? tinytl_pointwise_kernel_update(&pointwise, x, dy, &kernel, &optimizer)
                         : tinytl_conv_kernel_update(&update.layer.params, x, dy, &kernel, &optimizer));
}

}  // namespace

TFLMRegistration RegisterConv2DKernelGradient() {
  return MakeRegistration(Init<ConvLayer>, PrepareGradient, InvokeGradient);
}

TFLMRegistration RegisterConv2DKernelUpdate() {
  return MakeRegistration(Init<KernelUpdate>, PrepareUpdate, InvokeUpdate);
}

}  // namespace tflm
}  // namespace tinytl
