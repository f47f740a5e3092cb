/* The tensors of one node, with checks that say which op and tensor, what it got and what is expected. */
#ifndef TINYTL_TFLM_NODE_H_
#define TINYTL_TFLM_NODE_H_

#include <cstddef>
#include <cstdint>

#include "tflm_namespace.h"
#include "tinytl/tinytl.h"

namespace tinytl {
namespace tflm {

class Node {
 public:
  Node(TfLiteContext* context, TfLiteNode* node, const char* op) : context_(context), node_(node), op_(op) {}

  int inputs() const { return node_->inputs->size; }
  int outputs() const { return node_->outputs->size; }

  /* nullptr where the model has none: an index of -1, or beyond the list. Valid in Prepare (no data yet) and Invoke. */
  const TfLiteEvalTensor* input(int index) const { return tensor(node_->inputs, index); }
  TfLiteEvalTensor* output(int index) const { return tensor(node_->outputs, index); }

  /* The data of a tensor, in Invoke; nullptr where the model has no such tensor. */
  template <typename T>
  const T* in(int index) const {
    return data<const T>(input(index));
  }
  template <typename T>
  T* out(int index) const {
    return data<T>(output(index));
  }

  /* What Init allocated. */
  template <typename State>
  State* state() const {
    return static_cast<State*>(node_->user_data);
  }

  const uint8_t* options() const { return static_cast<const uint8_t*>(node_->custom_initial_data); }
  int options_bytes() const { return node_->custom_initial_data ? node_->custom_initial_data_size : 0; }

  /* Checks of Prepare: false, with a line by MicroPrintf, where the model is not what the op takes. */
  bool HasState() const;
  bool CountIs(int least_inputs, int most_inputs, int least_outputs, int most_outputs) const;
  bool Has(const TfLiteEvalTensor* tensor, const char* what, TfLiteType type) const;
  /* [batch, height, width, channels], or [batch, channels] as [batch, 1, 1, channels]. */
  bool Map(const TfLiteEvalTensor* tensor, const char* what, TfLiteType type, tinytl_shape* shape) const;
  /* Of so many elements, however they are arranged. */
  bool Elements(const TfLiteEvalTensor* tensor, const char* what, TfLiteType type, int64_t count) const;
  bool Same(const char* what, int64_t got, int64_t expected) const;
  bool Expect(bool holds, const char* what) const;

  /* A workspace that the arena shares among nodes: asked for in Prepare, there in Invoke. */
  bool RequestWorkspace(size_t bytes, int* index) const;
  void* workspace(int index) const;

  TfLiteStatus Report(tinytl_status status) const;

 private:
  TfLiteEvalTensor* tensor(const TfLiteIntArray* indices, int index) const;

  template <typename T>
  static T* data(const TfLiteEvalTensor* tensor) {
    return tensor ? static_cast<T*>(tensor->data.data) : nullptr;
  }

  TfLiteContext* context_;
  TfLiteNode* node_;
  const char* op_;
};

/* Elements of a tensor of any rank, -1 where a dimension is below 1 or their product too large. */
int64_t CountElements(const TfLiteEvalTensor* tensor);

/* Bytes for a node's State, for as long as the interpreter lives. */
void* AllocateState(TfLiteContext* context, size_t bytes);

/* Init of an op whose Prepare fills a State. */
template <typename State>
void* Init(TfLiteContext* context, const char*, size_t) {
  return AllocateState(context, sizeof(State));
}

TFLMRegistration MakeRegistration(void* (*init)(TfLiteContext*, const char*, size_t),
                                  TfLiteStatus (*prepare)(TfLiteContext*, TfLiteNode*),
                                  TfLiteStatus (*invoke)(TfLiteContext*, TfLiteNode*));

/* Copies, where a memory plan has not put both tensors in one place. */
void CopyFloats(const float* from, int64_t count, float* to);

}  // namespace tflm
}  // namespace tinytl

#endif  // TINYTL_TFLM_NODE_H_
