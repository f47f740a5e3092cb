#include "internal/quantization.h"

tinytl_status tinytl_dequantize(const int8_t *q, int32_t count, const tinytl_quantization *quantization, float *x) {
  if (!q || !quantization || !x) return TINYTL_ERROR_NULL;
  if (count < 1) return TINYTL_ERROR_SHAPE;
  if (!tinytl_internal_is_quantization(quantization)) return TINYTL_ERROR_ARGUMENT;
  const float scale = quantization->scale;
  const int32_t zero_point = quantization->zero_point;
  for (int32_t i = 0; i < count; ++i) x[i] = (float)(q[i] - zero_point) * scale;
  return TINYTL_OK;
}
