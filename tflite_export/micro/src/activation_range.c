#include "internal/check.h"
#include "internal/quantization.h"

tinytl_status tinytl_activation_range(tinytl_activation activation, const tinytl_quantization *output, int32_t *minimum,
                                      int32_t *maximum) {
  if (!output || !minimum || !maximum) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_activation(activation) || !tinytl_internal_is_quantization(output)) {
    return TINYTL_ERROR_ARGUMENT;
  }
  *minimum = activation == TINYTL_ACTIVATION_NONE ? -128 : output->zero_point;
  *maximum = 127;
  if (activation == TINYTL_ACTIVATION_RELU6) {
    const int32_t six = output->zero_point + tinytl_internal_round(6.0f / output->scale, 1024.0f);
    *maximum = tinytl_internal_min(six, 127);
  }
  return TINYTL_OK;
}
