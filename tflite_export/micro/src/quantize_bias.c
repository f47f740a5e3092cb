#include "internal/quantization.h"

tinytl_status tinytl_quantize_bias(const float *bias, const float *kernel_scale, float input_scale, int32_t channels,
                                   int32_t *quantized) {
  if (!bias || !kernel_scale || !quantized) return TINYTL_ERROR_NULL;
  if (channels < 1) return TINYTL_ERROR_SHAPE;
  if (!(input_scale > 0.0f)) return TINYTL_ERROR_ARGUMENT;
  for (int32_t c = 0; c < channels; ++c) {
    quantized[c] = tinytl_internal_round(bias[c] / (input_scale * kernel_scale[c]), 536870912.0f);
  }
  return TINYTL_OK;
}
