/* The end of an int8 layer: four output channels of a pixel from their int32 sums, and their mask bits. */
#ifndef TINYTL_INTERNAL_STORE_FOUR_H
#define TINYTL_INTERNAL_STORE_FOUR_H

#include "internal/requantize.h"

/* One channel's constants, taken apart once for all pixels. */
typedef struct tinytl_internal_channel {
  int32_t bias, multiplier, left, right;
  int32_t half;     /* 2^(right - 1), or 0 where right is 0 */
  int32_t negative; /* -1 where right > 0: what a negative value adds, so that halves go away from zero */
} tinytl_internal_channel;

typedef struct tinytl_internal_four {
  tinytl_internal_channel channels[4];
  int32_t first, width; /* output channels [first, first + width), width <= 4 */
  int32_t zero_point, low, high;
} tinytl_internal_four;

/* bias int32[all output channels] or NULL. */
static inline tinytl_internal_four tinytl_internal_take_four(const tinytl_requantization *r, const int32_t *bias,
                                                             int32_t first, int32_t width) {
  tinytl_internal_four four = {.first = first,
                               .width = width,
                               .zero_point = r->output_zero_point,
                               .low = r->activation_min,
                               .high = r->activation_max};
  for (int32_t i = 0; i < width; ++i) {
    const int32_t shift = r->shift[first + i];
    tinytl_internal_channel *const channel = &four.channels[i];
    channel->bias = bias ? bias[first + i] : 0;
    channel->multiplier = r->multiplier[first + i];
    channel->left = shift > 0 ? shift : 0;
    channel->right = channel->left - shift;
    channel->half = (int32_t)((UINT32_C(1) << channel->right) >> 1);
    channel->negative = channel->right > 0 ? -1 : 0;
  }
  return four;
}

/* As tinytl_internal_requantize, for sums whose magnitude stays below 2^30. */
static inline int32_t tinytl_internal_output_of(const tinytl_internal_four *four, int32_t i, int32_t sum) {
  const tinytl_internal_channel *const c = &four->channels[i];
  const int32_t shifted = (int32_t)((uint32_t)(sum + c->bias) << c->left);
  const int32_t high = tinytl_internal_doubling_high(shifted, c->multiplier);
  const int32_t scaled = (high + c->half + ((high >> 31) & c->negative)) >> c->right;
  return tinytl_internal_clamp(scaled + four->zero_point, four->low, four->high);
}

static inline uint32_t tinytl_internal_is_inside(const tinytl_internal_four *four, int32_t value) {
  return value > four->low && value < four->high ? 1u : 0u;
}

/* y and mask are those of the pixel's first channel; the mask's bits are still 0. mask or NULL. */
static inline void tinytl_internal_store_four(const tinytl_internal_four *four, const int32_t sums[4],
                                              int8_t *restrict y, uint8_t *restrict mask) {
  uint32_t bits = 0;
  y += four->first;
#define ONE(i)                                                             \
  {                                                                        \
    const int32_t value = tinytl_internal_output_of(four, i, sums[i]);     \
    y[i] = (int8_t)value;                                                  \
    if (mask) bits |= tinytl_internal_is_inside(four, value) << (i);       \
  }
  if (four->width == 4) {
    ONE(0) ONE(1) ONE(2) ONE(3)
  } else {
    for (int32_t i = 0; i < four->width; ++i) ONE(i)
  }
#undef ONE
  if (mask) {
    const uint32_t word = bits << (four->first & 7);
    mask += four->first >> 3;
    mask[0] = (uint8_t)(mask[0] | word);
    if (word >> 8) mask[1] = (uint8_t)(mask[1] | word >> 8);
  }
}

#endif
