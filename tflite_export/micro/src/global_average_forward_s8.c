#include "internal/check.h"
#include "internal/quantization.h"

tinytl_status tinytl_global_average_forward_s8(const tinytl_shape *shape, const tinytl_quantization *quantization,
                                               const int8_t *x, float *y) {
  if (!shape || !quantization || !x || !y) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_shape(shape)) return TINYTL_ERROR_SHAPE;
  if (!tinytl_internal_is_quantization(quantization)) return TINYTL_ERROR_ARGUMENT;
  const int32_t pixels = shape->height * shape->width, channels = shape->channels;
  const float share = quantization->scale / (float)pixels;
  for (int32_t n = 0; n < shape->batch; ++n, x += pixels * channels) {
    for (int32_t c = 0; c < channels; ++c) {
      const int8_t *pixel = x + c;
      int32_t sum = 0;
      for (int32_t i = 0; i < pixels; ++i, pixel += channels) sum += *pixel;
      *y++ = (float)(sum - pixels * quantization->zero_point) * share;
    }
  }
  return TINYTL_OK;
}
