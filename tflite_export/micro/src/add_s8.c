#include <string.h>

#include "internal/quantization.h"

/* TFLite's addition: both inputs are brought to twice the larger scale with 20 bits more, added, and requantised. */
#define EXTRA_BITS 20

typedef struct factor {
  int32_t multiplier, shift;
} factor;

static factor factor_of(double value) {
  factor f = {0, 0};
  (void)tinytl_quantize_multiplier(value, &f.multiplier, &f.shift);
  return f;
}

static int32_t lift(int32_t value, int32_t zero_point, factor f) {
  return tinytl_internal_requantize((value - zero_point) * (1 << EXTRA_BITS), f.multiplier, f.shift);
}

tinytl_status tinytl_add_s8(const int8_t *a, const tinytl_quantization *a_quantization, const int8_t *b,
                            const tinytl_quantization *b_quantization, int32_t pixels, int32_t channels,
                            const tinytl_quantization *y_quantization, int32_t activation_min, int32_t activation_max,
                            int8_t *y, uint8_t *mask) {
  if (!a || !a_quantization || !b || !b_quantization || !y_quantization || !y) return TINYTL_ERROR_NULL;
  if (pixels < 1 || channels < 1) return TINYTL_ERROR_SHAPE;
  if (!tinytl_internal_is_quantization(a_quantization) || !tinytl_internal_is_quantization(b_quantization) ||
      !tinytl_internal_is_quantization(y_quantization) || !tinytl_internal_is_range(activation_min, activation_max)) {
    return TINYTL_ERROR_ARGUMENT;
  }
  const double a_scale = (double)a_quantization->scale, b_scale = (double)b_quantization->scale;
  const double common = 2.0 * (a_scale > b_scale ? a_scale : b_scale);
  const factor a_factor = factor_of(a_scale / common), b_factor = factor_of(b_scale / common);
  const factor y_factor = factor_of(common / ((double)(1 << EXTRA_BITS) * (double)y_quantization->scale));
  const size_t row_bytes = tinytl_mask_bytes(1, channels);
  if (mask) memset(mask, 0, tinytl_mask_bytes(pixels, channels));
  for (int32_t pixel = 0; pixel < pixels; ++pixel, a += channels, b += channels, y += channels) {
    for (int32_t c = 0; c < channels; ++c) {
      const int32_t sum = lift(a[c], a_quantization->zero_point, a_factor) +
                          lift(b[c], b_quantization->zero_point, b_factor);
      const int32_t scaled = tinytl_internal_requantize(sum, y_factor.multiplier, y_factor.shift);
      const int32_t value =
          tinytl_internal_clamp(scaled + y_quantization->zero_point, activation_min, activation_max);
      y[c] = (int8_t)value;
      if (mask && value > activation_min && value < activation_max) {
        mask[c >> 3] = (uint8_t)(mask[c >> 3] | 1u << (c & 7));
      }
    }
    if (mask) mask += row_bytes;
  }
  return TINYTL_OK;
}
