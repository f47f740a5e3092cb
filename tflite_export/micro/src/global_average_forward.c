#include "internal/check.h"
#include "tinytl/pooling.h"

tinytl_status tinytl_global_average_forward(const tinytl_shape *shape, const float *x, float *y) {
  if (!shape || !x || !y) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_shape(shape)) return TINYTL_ERROR_SHAPE;
  const int32_t pixels = shape->height * shape->width, channels = shape->channels;
  const float share = 1.0f / (float)pixels;
  for (int32_t n = 0; n < shape->batch; ++n, x += pixels * channels) {
    for (int32_t c = 0; c < channels; ++c) {
      const float *pixel = x + c;
      float sum = 0.0f;
      for (int32_t i = 0; i < pixels; ++i, pixel += channels) sum += *pixel;
      *y++ = sum * share;
    }
  }
  return TINYTL_OK;
}
