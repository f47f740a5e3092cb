/* A stand-in: see tensorflow/lite/c/common.h. */
#ifndef TINYTL_STAND_IN_MICRO_COMMON_H_
#define TINYTL_STAND_IN_MICRO_COMMON_H_

#include "tensorflow/lite/c/common.h"

TINYTL_STAND_IN_BEGIN

struct TFLMRegistration {
  void* (*init)(TfLiteContext* context, const char* buffer, size_t length);
  void (*free)(TfLiteContext* context, void* buffer);
  TfLiteStatus (*prepare)(TfLiteContext* context, TfLiteNode* node);
  TfLiteStatus (*invoke)(TfLiteContext* context, TfLiteNode* node);
  void (*reset)(TfLiteContext* context, void* buffer);
  int32_t builtin_code;
  const char* custom_name;
};

TINYTL_STAND_IN_END

#endif
