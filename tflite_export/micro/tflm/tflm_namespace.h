/* The one place that knows where TensorFlow Lite Micro keeps its names.
 *
 * Until the summer of 2026 the C types (TfLiteStatus, TfLiteContext, ...) and TFLMRegistration were global and the
 * classes lay in tflite; the wheel of October 2026 has all of them in tflite::micro, and MicroPrintf still global. The
 * adapter writes every name unqualified and looks in both. A tree that moves them again: define TINYTL_TFLM_NAMESPACE,
 * for example -DTINYTL_TFLM_NAMESPACE=tflm.
 */
#ifndef TINYTL_TFLM_TFLM_NAMESPACE_H_
#define TINYTL_TFLM_TFLM_NAMESPACE_H_

#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/micro/micro_common.h"

namespace tflite {
namespace micro {}
}  // namespace tflite

namespace tinytl {
namespace tflm {

#ifdef TINYTL_TFLM_NAMESPACE
using namespace ::TINYTL_TFLM_NAMESPACE;
#else
using namespace ::tflite;
using namespace ::tflite::micro;
#endif

}  // namespace tflm
}  // namespace tinytl

#endif  // TINYTL_TFLM_TFLM_NAMESPACE_H_
