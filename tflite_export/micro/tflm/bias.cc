/* TINYTL_BIAS_GRADIENT and TINYTL_BIAS_UPDATE: sums of dy over the pixels, masked on the way. */

#include <cstring>

#include "options.h"
#include "tinytl_ops.h"
#include "variable.h"

namespace tinytl {
namespace tflm {

namespace {

enum Input { kDy, kMask, kVariable };

struct BiasLayer {
  int32_t pixels, channels;
  tinytl_optimizer optimizer; /* of an update */
};

/* dy and its mask; with a mask, dy behind it is the output `masked`, and without one there is no such output. */
bool ReadDy(const Node& node, int masked, BiasLayer* layer) {
  tinytl_shape shape;
  if (!node.Map(node.input(kDy), "dy", kTfLiteFloat32, &shape)) return false;
  layer->pixels = tinytl_pixels(&shape);
  layer->channels = shape.channels;
  if (!node.input(kMask)) return true;
  const int64_t mask_bytes = static_cast<int64_t>(tinytl_mask_bytes(layer->pixels, layer->channels));
  return node.Elements(node.input(kMask), "the mask", kTfLiteUInt8, mask_bytes) &&
         node.Elements(node.output(masked), "dy behind the mask", kTfLiteFloat32, CountElements(node.input(kDy)));
}

/* dy where the kernel may mask it: its copy, or dy itself, which is only read without a mask. */
float* CopyOfDy(const Node& node, int masked) {
  const float* dy = node.in<float>(kDy);
  if (!node.input(kMask)) return const_cast<float*>(dy);
  float* copy = node.out<float>(masked);
  CopyFloats(dy, CountElements(node.input(kDy)), copy);
  return copy;
}

TfLiteStatus PrepareGradient(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_BIAS_GRADIENT");
  BiasLayer* layer = node.state<BiasLayer>();
  if (!node.HasState()) return kTfLiteError;
  const int outputs = node.input(kMask) ? 2 : 1;
  if (!node.CountIs(1, 2, outputs, outputs) || !ReadNoOptions(node) || !ReadDy(node, 1, layer)) return kTfLiteError;
  const bool fits = node.Elements(node.output(0), "the gradient", kTfLiteFloat32, layer->channels);
  return fits ? kTfLiteOk : kTfLiteError;
}

TfLiteStatus InvokeGradient(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_BIAS_GRADIENT");
  const BiasLayer& layer = *node.state<BiasLayer>();
  float* gradient = node.out<float>(0);
  std::memset(gradient, 0, static_cast<size_t>(layer.channels) * sizeof(float));
  return node.Report(
      tinytl_bias_gradient(CopyOfDy(node, 1), node.in<uint8_t>(kMask), layer.pixels, layer.channels, gradient));
}

TfLiteStatus PrepareUpdate(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_BIAS_UPDATE");
  BiasLayer* layer = node.state<BiasLayer>();
  if (!node.HasState()) return kTfLiteError;
  if (!ReadOptimizer(node, &layer->optimizer)) return kTfLiteError;
  const int tensors = VariableTensors(layer->optimizer);
  const int outputs = tensors + (node.input(kMask) ? 1 : 0);
  if (!node.CountIs(kVariable + 2, kVariable + kVariableInputs, outputs, outputs)) return kTfLiteError;
  if (!ReadDy(node, tensors, layer)) return kTfLiteError;
  return CheckVariable(node, kVariable, layer->optimizer, layer->channels) ? kTfLiteOk : kTfLiteError;
}

TfLiteStatus InvokeUpdate(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_BIAS_UPDATE");
  const BiasLayer& layer = *node.state<BiasLayer>();
  tinytl_optimizer optimizer = layer.optimizer;
  tinytl_variable bias;
  const tinytl_status status = BeginVariable(node, kVariable, &optimizer, &bias);
  if (status != TINYTL_OK) return node.Report(status);
  float* dy = CopyOfDy(node, VariableTensors(optimizer));
  return node.Report(
      tinytl_bias_update(dy, node.in<uint8_t>(kMask), layer.pixels, layer.channels, &bias, &optimizer));
}

}  // namespace

TFLMRegistration RegisterBiasGradient() {
  return MakeRegistration(Init<BiasLayer>, PrepareGradient, InvokeGradient);
}

TFLMRegistration RegisterBiasUpdate() { return MakeRegistration(Init<BiasLayer>, PrepareUpdate, InvokeUpdate); }

}  // namespace tflm
}  // namespace tinytl
