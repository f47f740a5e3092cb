/* A stand-in: see tensorflow/lite/c/common.h. */
#ifndef TINYTL_STAND_IN_MICRO_CONTEXT_H_
#define TINYTL_STAND_IN_MICRO_CONTEXT_H_

#include "tensorflow/lite/c/common.h"

namespace tflite {
#ifdef TINYTL_STAND_IN_2026
namespace micro {
#endif

/* The wheel calls by place, so what the adapter does not use is here too. */
class MicroContext {
 public:
  virtual ~MicroContext() = default;
  virtual void* AllocatePersistentBuffer(size_t bytes) = 0;
  virtual TfLiteStatus RequestScratchBufferInArena(size_t bytes, int* index) = 0;
  virtual void* GetScratchBuffer(int index) = 0;
  virtual void* AllocateTempTfLiteTensor(int) { return nullptr; }
  virtual void DeallocateTempTfLiteTensor(void*) {}
  virtual uint8_t* AllocateTempBuffer(size_t, size_t) { return nullptr; }
  virtual void DeallocateTempBuffer(uint8_t*) {}
  virtual TfLiteEvalTensor* GetEvalTensor(int index) = 0;
};

inline MicroContext* GetMicroContext(const TfLiteContext* context) {
  return static_cast<MicroContext*>(context->impl_);
}

#ifdef TINYTL_STAND_IN_2026
}  // namespace micro
#endif
}  // namespace tflite

#endif
