/* The training kernels as custom ops of TensorFlow Lite Micro.
 *
 *   MicroMutableOpResolver<20> resolver;           // the builtins of the model, and tinytl::tflm::kOpCount
 *   if (tinytl::tflm::RegisterTinyTL(resolver) != kTfLiteOk) ...
 *
 * README.md lists the ops: tensors in their order, custom options, what is checked.
 */
#ifndef TINYTL_TFLM_TINYTL_OPS_H_
#define TINYTL_TFLM_TINYTL_OPS_H_

#include "tflm_namespace.h"

namespace tinytl {
namespace tflm {

TFLMRegistration RegisterConv2D();
TFLMRegistration RegisterConv2DInputGradient();
TFLMRegistration RegisterConv2DKernelGradient();
TFLMRegistration RegisterConv2DKernelUpdate();
TFLMRegistration RegisterDepthwiseConv2D();
TFLMRegistration RegisterDepthwiseConv2DInputGradient();
TFLMRegistration RegisterBiasGradient();
TFLMRegistration RegisterBiasUpdate();
TFLMRegistration RegisterUpdate();

struct NamedOp {
  const char* name;
  TFLMRegistration (*make)();
};

constexpr int kOpCount = 9;
constexpr NamedOp kOps[kOpCount] = {
    {"TINYTL_CONV_2D", RegisterConv2D},
    {"TINYTL_CONV_2D_INPUT_GRADIENT", RegisterConv2DInputGradient},
    {"TINYTL_CONV_2D_KERNEL_GRADIENT", RegisterConv2DKernelGradient},
    {"TINYTL_CONV_2D_KERNEL_UPDATE", RegisterConv2DKernelUpdate},
    {"TINYTL_DEPTHWISE_CONV_2D", RegisterDepthwiseConv2D},
    {"TINYTL_DEPTHWISE_CONV_2D_INPUT_GRADIENT", RegisterDepthwiseConv2DInputGradient},
    {"TINYTL_BIAS_GRADIENT", RegisterBiasGradient},
    {"TINYTL_BIAS_UPDATE", RegisterBiasUpdate},
    {"TINYTL_UPDATE", RegisterUpdate},
};

/* Adds every op to a MicroMutableOpResolver, or to any class with its AddCustom(name, registration), which copies the
 * registration. The first error ends it and is returned; the resolver has printed it. */
template <typename Resolver>
TfLiteStatus RegisterTinyTL(Resolver& resolver) {
  for (const NamedOp& op : kOps) {
    const TFLMRegistration registration = op.make();
    const TfLiteStatus status = resolver.AddCustom(op.name, &registration);
    if (status != kTfLiteOk) return status;
  }
  return kTfLiteOk;
}

}  // namespace tflm
}  // namespace tinytl

#endif  // TINYTL_TFLM_TINYTL_OPS_H_
