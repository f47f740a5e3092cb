/* Four int8 values as two pairs of int16 in a word: two multiply-adds an instruction where the processor has Arm's DSP
 * extension (Cortex-M4, M7, M33, M55); the same values in plain C elsewhere. */
#ifndef TINYTL_INTERNAL_PAIRS_H
#define TINYTL_INTERNAL_PAIRS_H

#include <stdint.h>
#include <string.h>

#ifdef __ARM_FEATURE_SIMD32
#include <arm_acle.h>
#endif

/* Values 0 and 2, and 1 and 3, of four. */
typedef struct tinytl_internal_pairs {
  uint32_t even, odd;
} tinytl_internal_pairs;

static inline uint32_t tinytl_internal_load_four(const int8_t *values) {
  uint32_t word;
  memcpy(&word, values, sizeof word);
  return word;
}

/* The first `count` values, 1 to 3, then zeros. */
static inline uint32_t tinytl_internal_load_some(const int8_t *values, int32_t count) {
  uint32_t word = 0;
  for (int32_t i = 0; i < count; ++i) word |= (uint32_t)(uint8_t)values[i] << (8 * i);
  return word;
}

static inline uint32_t tinytl_internal_pair(int32_t low, int32_t high) {
  return ((uint32_t)low & 0xFFFFu) | (uint32_t)high << 16;
}

static inline tinytl_internal_pairs tinytl_internal_widen(uint32_t four) {
  tinytl_internal_pairs pairs;
#ifdef __ARM_FEATURE_SIMD32
  pairs.even = (uint32_t)__sxtb16((int8x4_t)four);
  pairs.odd = (uint32_t)__sxtb16((int8x4_t)(four >> 8 | four << 24));
#else
  pairs.even = tinytl_internal_pair((int8_t)four, (int8_t)(four >> 16));
  pairs.odd = tinytl_internal_pair((int8_t)(four >> 8), (int8_t)(four >> 24));
#endif
  return pairs;
}

/* Subtracts the same number from both values of a word. */
static inline uint32_t tinytl_internal_subtract_pair(uint32_t pair, uint32_t number) {
#ifdef __ARM_FEATURE_SIMD32
  return (uint32_t)__ssub16((int16x2_t)pair, (int16x2_t)number);
#else
  return tinytl_internal_pair((int16_t)pair - (int16_t)number, (int16_t)(pair >> 16) - (int16_t)(number >> 16));
#endif
}

/* sum + a.low * b.low + a.high * b.high */
static inline int32_t tinytl_internal_multiply_pairs(uint32_t a, uint32_t b, int32_t sum) {
#ifdef __ARM_FEATURE_SIMD32
  return __smlad((int16x2_t)a, (int16x2_t)b, sum);
#else
  return sum + (int16_t)a * (int16_t)b + (int16_t)(a >> 16) * (int16_t)(b >> 16);
#endif
}

#endif
