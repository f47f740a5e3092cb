#include "node.h"

#include <cstring>

#include "tensorflow/lite/micro/micro_context.h"
#include "tensorflow/lite/micro/micro_log.h"

namespace tinytl {
namespace tflm {

namespace {

const char* TypeName(TfLiteType type) {
  switch (type) {
    case kTfLiteFloat32:
      return "float32";
    case kTfLiteInt32:
      return "int32";
    case kTfLiteInt8:
      return "int8";
    case kTfLiteUInt8:
      return "uint8";
    default:
      return "another type";
  }
}

}  // namespace

TfLiteEvalTensor* Node::tensor(const TfLiteIntArray* indices, int index) const {
  if (index >= indices->size || indices->data[index] < 0) return nullptr;
  return GetMicroContext(context_)->GetEvalTensor(indices->data[index]);
}

bool Node::HasState() const {
  if (!node_->user_data) MicroPrintf("%s: no memory for its parameters: make the arena larger", op_);
  return node_->user_data != nullptr;
}

bool Node::CountIs(int least_inputs, int most_inputs, int least_outputs, int most_outputs) const {
  if (inputs() < least_inputs || inputs() > most_inputs) {
    MicroPrintf("%s: %d inputs, expected %d to %d", op_, inputs(), least_inputs, most_inputs);
    return false;
  }
  if (outputs() < least_outputs || outputs() > most_outputs) {
    MicroPrintf("%s: %d outputs, expected %d to %d", op_, outputs(), least_outputs, most_outputs);
    return false;
  }
  return true;
}

bool Node::Has(const TfLiteEvalTensor* tensor, const char* what, TfLiteType type) const {
  if (!tensor) {
    MicroPrintf("%s: no tensor %s, which this op needs", op_, what);
    return false;
  }
  if (tensor->type != type) {
    MicroPrintf("%s: %s is %s (type %d), expected %s", op_, what, TypeName(tensor->type),
                static_cast<int>(tensor->type), TypeName(type));
    return false;
  }
  return true;
}

bool Node::Map(const TfLiteEvalTensor* tensor, const char* what, TfLiteType type, tinytl_shape* shape) const {
  if (!Has(tensor, what, type)) return false;
  const TfLiteIntArray* dims = tensor->dims;
  if (dims->size != 4 && dims->size != 2) {
    MicroPrintf("%s: %s has %d dimensions, expected 4 or 2", op_, what, dims->size);
    return false;
  }
  if (CountElements(tensor) < 0) {
    MicroPrintf("%s: %s has a dimension below 1, or more than 2^31 - 1 elements", op_, what);
    return false;
  }
  const bool flat = dims->size == 2;
  *shape = {dims->data[0], flat ? 1 : dims->data[1], flat ? 1 : dims->data[2], dims->data[flat ? 1 : 3]};
  return true;
}

bool Node::Elements(const TfLiteEvalTensor* tensor, const char* what, TfLiteType type, int64_t count) const {
  return Has(tensor, what, type) && Same(what, CountElements(tensor), count);
}

bool Node::Same(const char* what, int64_t got, int64_t expected) const {
  if (got == expected) return true;
  MicroPrintf("%s: %s: got %d, expected %d", op_, what, static_cast<int>(got), static_cast<int>(expected));
  return false;
}

bool Node::Expect(bool holds, const char* what) const {
  if (!holds) MicroPrintf("%s: %s", op_, what);
  return holds;
}

bool Node::RequestWorkspace(size_t bytes, int* index) const {
  if (GetMicroContext(context_)->RequestScratchBufferInArena(bytes, index) == kTfLiteOk) return true;
  MicroPrintf("%s: no workspace of %d bytes: make the arena larger", op_, static_cast<int>(bytes));
  return false;
}

void* Node::workspace(int index) const { return GetMicroContext(context_)->GetScratchBuffer(index); }

TfLiteStatus Node::Report(tinytl_status status) const {
  if (status == TINYTL_OK) return kTfLiteOk;
  MicroPrintf("%s: the kernel refused with status %d (tinytl/types.h)", op_, static_cast<int>(status));
  return kTfLiteError;
}

int64_t CountElements(const TfLiteEvalTensor* tensor) {
  int64_t count = 1;
  for (int i = 0; i < tensor->dims->size; ++i) {
    const int32_t dimension = tensor->dims->data[i];
    if (dimension < 1) return -1;
    count *= dimension;
    if (count > INT32_MAX) return -1;
  }
  return count;
}

void* AllocateState(TfLiteContext* context, size_t bytes) {
  return GetMicroContext(context)->AllocatePersistentBuffer(bytes);
}

TFLMRegistration MakeRegistration(void* (*init)(TfLiteContext*, const char*, size_t),
                                  TfLiteStatus (*prepare)(TfLiteContext*, TfLiteNode*),
                                  TfLiteStatus (*invoke)(TfLiteContext*, TfLiteNode*)) {
  TFLMRegistration registration = {};
  registration.init = init;
  registration.prepare = prepare;
  registration.invoke = invoke;
  return registration;
}

void CopyFloats(const float* from, int64_t count, float* to) {
  if (from != to) std::memmove(to, from, static_cast<size_t>(count) * sizeof(float));
}

}  // namespace tflm
}  // namespace tinytl
