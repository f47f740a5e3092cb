/* Registers the ops with the interpreter of TFLM's Python wheel, which finds this function by name (its argument
 * custom_op_registerers). Compiled with -DTINYTL_STAND_IN_2026. */

#include <cstdarg>
#include <cstdio>

#include "tensorflow/lite/micro/micro_log.h"
#include "tinytl_ops.h"

/* The wheel's own is not to be seen from here. */
void MicroPrintf(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputc('\n', stderr);
}

namespace {

using namespace tinytl::tflm;

constexpr unsigned kMostOps = 200; /* of the wheel's PythonOpsResolver */
constexpr int32_t kCustom = 32;    /* BuiltinOperator_CUSTOM */

/* How its resolver begins in memory. */
struct Resolver {
  void* virtual_functions;
  TFLMRegistration ops[kMostOps];
  unsigned count;

  TfLiteStatus AddCustom(const char* name, const TFLMRegistration* op) {
    if (count >= kMostOps) return kTfLiteError;
    ops[count] = *op;
    ops[count].builtin_code = kCustom;
    ops[count].custom_name = name;
    ++count;
    return kTfLiteOk;
  }
};

}  // namespace

extern "C" bool tinytl_register(void* resolver) {
  return RegisterTinyTL(*static_cast<Resolver*>(resolver)) == kTfLiteOk;
}
