/* TINYTL_UPDATE: a trainable tensor of any shape from its gradient, accumulated or clipped before. */

#include "options.h"
#include "tinytl_ops.h"
#include "variable.h"

namespace tinytl {
namespace tflm {

namespace {

enum Input { kGradient, kVariable };

TfLiteStatus Prepare(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_UPDATE");
  tinytl_optimizer* optimizer = node.state<tinytl_optimizer>();
  if (!node.HasState()) return kTfLiteError;
  if (!ReadOptimizer(node, optimizer)) return kTfLiteError;
  const int tensors = VariableTensors(*optimizer);
  if (!node.CountIs(kVariable + 2, kVariable + kVariableInputs, tensors, tensors)) return kTfLiteError;
  const TfLiteEvalTensor* gradient = node.input(kGradient);
  if (!node.Has(gradient, "the gradient", kTfLiteFloat32)) return kTfLiteError;
  const int64_t count = CountElements(gradient);
  if (!node.Expect(count > 0, "the gradient has a dimension below 1, or too many elements")) return kTfLiteError;
  return CheckVariable(node, kVariable, *optimizer, count) ? kTfLiteOk : kTfLiteError;
}

TfLiteStatus Invoke(TfLiteContext* context, TfLiteNode* tflite_node) {
  const Node node(context, tflite_node, "TINYTL_UPDATE");
  tinytl_optimizer optimizer = *node.state<tinytl_optimizer>();
  tinytl_variable variable;
  const tinytl_status status = BeginVariable(node, kVariable, &optimizer, &variable);
  if (status != TINYTL_OK) return node.Report(status);
  const int32_t count = static_cast<int32_t>(CountElements(node.input(kGradient)));
  return node.Report(tinytl_update(&optimizer, &variable, node.in<float>(kGradient), count));
}

}  // namespace

TFLMRegistration RegisterUpdate() { return MakeRegistration(Init<tinytl_optimizer>, Prepare, Invoke); }

}  // namespace tflm
}  // namespace tinytl
