#include "internal/check.h"
#include "internal/rows.h"
#include "tinytl/pooling.h"

tinytl_status tinytl_global_average_input_gradient(const tinytl_shape *shape, const float *dy,
                                                   const uint8_t *mask_below, bool accumulate, float *dx) {
  if (!shape || !dy || !dx) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_shape(shape)) return TINYTL_ERROR_SHAPE;
  const int32_t pixels = shape->height * shape->width, channels = shape->channels;
  const float share = 1.0f / (float)pixels;
  float *sample = dx;
  for (int32_t n = 0; n < shape->batch; ++n, sample += pixels * channels) {
    for (int32_t c = 0; c < channels; ++c) {
      const float value = *dy++ * share;
      float *pixel = sample + c;
      for (int32_t i = 0; i < pixels; ++i, pixel += channels) *pixel = accumulate ? *pixel + value : value;
    }
  }
  if (mask_below) tinytl_internal_mask_rows(dx, mask_below, tinytl_pixels(shape), channels, dx);
  return TINYTL_OK;
}
