#include "internal/arithmetic.h"
#include "internal/rows.h"

/* ReLU and ReLU6 on the bits of the float: positive floats order like integers, so one clamp serves both, and the
 * derivative is one iff 0 < bits < top. */
#define SIX_BITS 0x40C00000
#define TOP_OF_RELU 0x7FFFFFFF

static inline int32_t clamp_bits(int32_t bits, int32_t top) {
  bits &= ~(bits >> 31);
  return bits > top ? top : bits;
}

static inline uint32_t is_open(int32_t bits, int32_t top) { return bits > 0 && bits < top ? 1u : 0u; }

#define CLAMP(j) y[j] = tinytl_internal_from_bits(clamp_bits(tinytl_internal_bits(y[j]), top));

static void clamp_all(float *y, int32_t count, int32_t top) {
  for (; count >= 4; count -= 4, y += 4) {
    CLAMP(0) CLAMP(1) CLAMP(2) CLAMP(3)
  }
  for (; count > 0; --count, ++y) CLAMP(0)
}

static void clamp_and_mask_row(float *y, int32_t channels, int32_t top, uint8_t *mask) {
  int32_t c = 0;
  for (; c + 8 <= channels; c += 8, y += 8) {
    uint32_t bits = 0;
#define ONE(j)                                                              \
  {                                                                         \
    const int32_t value = clamp_bits(tinytl_internal_bits(y[j]), top);      \
    y[j] = tinytl_internal_from_bits(value);                                \
    bits |= is_open(value, top) << (j);                                     \
  }
    ONE(0) ONE(1) ONE(2) ONE(3) ONE(4) ONE(5) ONE(6) ONE(7)
    *mask++ = (uint8_t)bits;
  }
  if (c < channels) {
    uint32_t bits = 0;
    for (int32_t j = 0; j < channels - c; ++j) ONE(j)
    *mask = (uint8_t)bits;
  }
#undef ONE
}

void tinytl_internal_fill_mask(uint8_t *mask, int32_t pixels, int32_t channels) {
  const uint8_t last = (uint8_t)(0xFFu >> ((8 - channels % 8) % 8));
  for (int32_t pixel = 0; pixel < pixels; ++pixel) {
    int32_t c = 0;
    for (; c + 8 < channels; c += 8) *mask++ = 0xFF;
    *mask++ = last;
  }
}

void tinytl_internal_activate_rows(float *y, int32_t pixels, int32_t channels, tinytl_activation activation,
                                   uint8_t *mask) {
  if (activation == TINYTL_ACTIVATION_NONE) {
    if (mask) tinytl_internal_fill_mask(mask, pixels, channels);
    return;
  }
  const int32_t top = activation == TINYTL_ACTIVATION_RELU6 ? SIX_BITS : TOP_OF_RELU;
  if (!mask) {
    clamp_all(y, pixels * channels, top);
    return;
  }
  const size_t bytes = tinytl_mask_bytes(1, channels);
  for (int32_t pixel = 0; pixel < pixels; ++pixel, y += channels, mask += bytes) {
    clamp_and_mask_row(y, channels, top, mask);
  }
}
