/* From int32 sums to int8 outputs, in CMSIS-NN's arithmetic: sum * multiplier * 2^(shift - 31), rounded twice. */
#ifndef TINYTL_INTERNAL_REQUANTIZE_H
#define TINYTL_INTERNAL_REQUANTIZE_H

#include "internal/arithmetic.h"
#include "tinytl/quantized.h"

/* High word of 2 a b, rounded half up. */
static inline int32_t tinytl_internal_doubling_high(int32_t a, int32_t b) {
  return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
}

/* value / 2^exponent, rounded half away from zero; exponent in [0, 31]. */
static inline int32_t tinytl_internal_rounding_shift(int32_t value, int32_t exponent) {
  const int32_t mask = (int32_t)((UINT32_C(1) << exponent) - 1u);
  const int32_t remainder = value & mask;
  const int32_t quotient = value >> exponent;
  return quotient + (remainder > (mask >> 1) + (quotient < 0 ? 1 : 0) ? 1 : 0);
}

static inline int32_t tinytl_internal_requantize(int32_t value, int32_t multiplier, int32_t shift) {
  const int32_t left = shift > 0 ? shift : 0;
  const int32_t shifted = (int32_t)((uint32_t)value << left);
  return tinytl_internal_rounding_shift(tinytl_internal_doubling_high(shifted, multiplier), left - shift);
}

static inline int32_t tinytl_internal_clamp(int32_t value, int32_t low, int32_t high) {
  return tinytl_internal_min(tinytl_internal_max(value, low), high);
}

static inline bool tinytl_internal_is_zero_point(int32_t value) { return value >= -128 && value <= 127; }

static inline bool tinytl_internal_is_range(int32_t low, int32_t high) {
  return low >= -128 && low <= high && high <= 127;
}

/* Pointers, zero points, range, and every channel's multiplier and shift are legal. */
tinytl_status tinytl_internal_check_requantization(const tinytl_requantization *r, int32_t channels);

#endif
