#include "internal/quantization.h"

tinytl_status tinytl_quantize(const float *x, int32_t count, const tinytl_quantization *quantization, int8_t *q) {
  if (!x || !quantization || !q) return TINYTL_ERROR_NULL;
  if (count < 1) return TINYTL_ERROR_SHAPE;
  if (!tinytl_internal_is_quantization(quantization)) return TINYTL_ERROR_ARGUMENT;
  const float scale = quantization->scale;
  const int32_t zero_point = quantization->zero_point;
  for (int32_t i = 0; i < count; ++i) {
    q[i] = (int8_t)tinytl_internal_clamp(tinytl_internal_round(x[i] / scale, 1024.0f) + zero_point, -128, 127);
  }
  return TINYTL_OK;
}
