#include <string.h>

#include "internal/quantization.h"

tinytl_status tinytl_activate_s8(const int8_t *x, int32_t pixels, int32_t channels, int32_t activation_min,
                                 int32_t activation_max, int8_t *y, uint8_t *mask) {
  if (!x || !y) return TINYTL_ERROR_NULL;
  if (pixels < 1 || channels < 1) return TINYTL_ERROR_SHAPE;
  if (!tinytl_internal_is_range(activation_min, activation_max)) return TINYTL_ERROR_ARGUMENT;
  const size_t row_bytes = tinytl_mask_bytes(1, channels);
  if (mask) memset(mask, 0, tinytl_mask_bytes(pixels, channels));
  for (int32_t pixel = 0; pixel < pixels; ++pixel, x += channels, y += channels) {
    for (int32_t c = 0; c < channels; ++c) {
      const int32_t value = tinytl_internal_clamp(x[c], activation_min, activation_max);
      y[c] = (int8_t)value;
      if (mask && value > activation_min && value < activation_max) {
        mask[c >> 3] = (uint8_t)(mask[c >> 3] | 1u << (c & 7));
      }
    }
    if (mask) mask += row_bytes;
  }
  return TINYTL_OK;
}
