#include "internal/arithmetic.h"
#include "internal/rows.h"

/* ReLU and ReLU6 on the bits of the float: positive floats order like integers, so `top`, the bits of six or of what no
 * float exceeds, serves both. Most elements are either stored as zero or left as they are: branches cost less than
 * arithmetic. */
#define SIX_BITS 0x40C00000
#define TOP_OF_RELU 0x7FFFFFFF

#define CLAMP(j)                                               \
  {                                                            \
    const int32_t bits = tinytl_internal_bits(y[j]);           \
    if (bits <= 0) {                                           \
      y[j] = 0.0f;                                             \
    } else if (bits > top) {                                   \
      y[j] = tinytl_internal_from_bits(top);                   \
    }                                                          \
  }

static void clamp_all(float *y, int32_t count, int32_t top) {
  for (; count >= 4; count -= 4, y += 4) {
    CLAMP(0) CLAMP(1) CLAMP(2) CLAMP(3)
  }
  for (; count > 0; --count, ++y) CLAMP(0)
}

#define CLAMP_AND_MASK(j)                                      \
  {                                                            \
    const int32_t bits = tinytl_internal_bits(y[j]);           \
    if (bits <= 0) {                                           \
      y[j] = 0.0f;                                             \
    } else if (bits < top) {                                   \
      open |= 1u << (j);                                       \
    } else {                                                   \
      y[j] = tinytl_internal_from_bits(top);                   \
    }                                                          \
  }

static void clamp_and_mask_row(float *y, int32_t channels, int32_t top, uint8_t *mask) {
  for (; channels >= 8; channels -= 8, y += 8) {
    uint32_t open = 0;
    CLAMP_AND_MASK(0)
    CLAMP_AND_MASK(1)
    CLAMP_AND_MASK(2)
    CLAMP_AND_MASK(3)
    CLAMP_AND_MASK(4)
    CLAMP_AND_MASK(5)
    CLAMP_AND_MASK(6)
    CLAMP_AND_MASK(7)
    *mask++ = (uint8_t)open;
  }
  if (channels > 0) {
    uint32_t open = 0;
    for (int32_t j = 0; j < channels; ++j) CLAMP_AND_MASK(j)
    *mask = (uint8_t)open;
  }
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
