/* A stand-in for TensorFlow Lite's header of this name: what the adapter uses, and no more. The types lie where TFLM
 * had them until 2026, in the global namespace, or with -DTINYTL_STAND_IN_2026 in tflite::micro; then their memory is
 * laid out as in the Python wheel of TFLM (tflite-micro 0.dev20261023), which ships no headers. */
#ifndef TINYTL_STAND_IN_COMMON_H_
#define TINYTL_STAND_IN_COMMON_H_

#include <cstddef>
#include <cstdint>

#ifdef TINYTL_STAND_IN_2026
#define TINYTL_STAND_IN_BEGIN namespace tflite { namespace micro {
#define TINYTL_STAND_IN_END } }
#else
#define TINYTL_STAND_IN_BEGIN
#define TINYTL_STAND_IN_END
#endif

TINYTL_STAND_IN_BEGIN

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
enum TfLiteType { kTfLiteFloat32 = 1, kTfLiteInt32 = 2, kTfLiteUInt8 = 3, kTfLiteInt8 = 9 };

struct TfLiteIntArray {
  int size;
  int data[8];
};

struct TfLiteEvalTensor {
  union {
    void* data;
  } data;
  TfLiteIntArray* dims;
  TfLiteType type;
};

struct TfLiteNode {
  TfLiteIntArray* inputs;
  TfLiteIntArray* outputs;
  TfLiteIntArray* intermediates;
  void* user_data;
  void* builtin_data;
  const void* custom_initial_data;
  int custom_initial_data_size;
};

struct TfLiteContext {
  void* impl_;
};

TINYTL_STAND_IN_END

#endif
