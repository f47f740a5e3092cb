#include "variable.h"

namespace tinytl {
namespace tflm {

namespace {

enum Offset { kValue, kLearningRate, kStep, kGradientScale, kFirst };

const char* const kTensorNames[] = {"the value", "first", "second"};
const char* const kOutputNames[] = {"the new value", "the new first", "the new second"};

/* Input of the value (0), first (1) or second (2). */
int InputOf(int first_input, int tensor) { return first_input + (tensor == 0 ? kValue : kFirst + tensor - 1); }

}  // namespace

bool CheckVariable(const Node& node, int first_input, const tinytl_optimizer& optimizer, int64_t count) {
  if (!node.Elements(node.input(first_input + kLearningRate), "the learning rate", kTfLiteFloat32, 1)) return false;
  const TfLiteEvalTensor* step = node.input(first_input + kStep);
  if ((optimizer.kind == TINYTL_ADAM || step) && !node.Elements(step, "the step", kTfLiteInt32, 1)) return false;
  const TfLiteEvalTensor* scale = node.input(first_input + kGradientScale);
  if (scale && !node.Elements(scale, "the gradient scale", kTfLiteFloat32, 1)) return false;
  for (int i = 0; i < VariableTensors(optimizer); ++i) {
    if (!node.Elements(node.input(InputOf(first_input, i)), kTensorNames[i], kTfLiteFloat32, count)) return false;
    if (!node.Elements(node.output(i), kOutputNames[i], kTfLiteFloat32, count)) return false;
  }
  return true;
}

tinytl_status BeginVariable(const Node& node, int first_input, tinytl_optimizer* optimizer, tinytl_variable* variable) {
  const int32_t* step = node.in<int32_t>(first_input + kStep);
  const float* scale = node.in<float>(first_input + kGradientScale);
  optimizer->learning_rate = *node.in<float>(first_input + kLearningRate);
  optimizer->gradient_scale = scale ? *scale : 1.0f;
  const tinytl_status status = tinytl_optimizer_begin_step(optimizer, step ? *step : 1);
  if (status != TINYTL_OK) return status;
  float* copies[3] = {nullptr, nullptr, nullptr};
  for (int i = 0; i < VariableTensors(*optimizer); ++i) {
    copies[i] = node.out<float>(i);
    CopyFloats(node.in<float>(InputOf(first_input, i)), CountElements(node.output(i)), copies[i]);
  }
  *variable = {copies[0], copies[1], copies[2]};
  return TINYTL_OK;
}

}  // namespace tflm
}  // namespace tinytl
