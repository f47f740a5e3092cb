/* Four int8 values as two pairs of int16 in a word: two multiply-adds an instruction where the processor has Arm's DSP
 * extension (Cortex-M4, M7, M33, M55); the same values in plain C elsewhere. */
#ifndef TINYTL_INTERNAL_PAIRS_H
#define TINYTL_INTERNAL_PAIRS_H

#include <stdint.h>
#include <string.h>

#if defined(__ARM_FEATURE_SIMD32) && defined(__GNUC__)
#define TINYTL_HAS_PAIRS 1
#include <arm_acle.h>
#else
#define TINYTL_HAS_PAIRS 0
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
  uint32_t word = (uint8_t)values[0];
  if (count > 1) word |= (uint32_t)(uint8_t)values[1] << 8;
  if (count > 2) word |= (uint32_t)(uint8_t)values[2] << 16;
  return word;
}

static inline uint32_t tinytl_internal_pair(int32_t low, int32_t high) {
  return ((uint32_t)low & 0xFFFFu) | (uint32_t)high << 16;
}

/* The four values, with the int16 pair `offset` added to both pairs. */
static inline tinytl_internal_pairs tinytl_internal_widen_add(uint32_t four, uint32_t offset) {
  tinytl_internal_pairs pairs;
#if TINYTL_HAS_PAIRS
  pairs.even = (uint32_t)__sxtab16((int16x2_t)offset, (int8x4_t)four);
  __asm("sxtab16 %0, %1, %2, ror #8" : "=r"(pairs.odd) : "r"(offset), "r"(four));
#else
  const int32_t low = (int16_t)offset, high = (int16_t)(offset >> 16);
  pairs.even = tinytl_internal_pair((int8_t)four + low, (int8_t)(four >> 16) + high);
  pairs.odd = tinytl_internal_pair((int8_t)(four >> 8) + low, (int8_t)(four >> 24) + high);
#endif
  return pairs;
}

static inline tinytl_internal_pairs tinytl_internal_widen(uint32_t four) {
#if TINYTL_HAS_PAIRS
  tinytl_internal_pairs pairs;
  pairs.even = (uint32_t)__sxtb16((int8x4_t)four);
  __asm("sxtb16 %0, %1, ror #8" : "=r"(pairs.odd) : "r"(four));
  return pairs;
#else
  return tinytl_internal_widen_add(four, 0);
#endif
}

/* sum + a.low * b.low + a.high * b.high */
static inline int32_t tinytl_internal_multiply_pairs(uint32_t a, uint32_t b, int32_t sum) {
#if TINYTL_HAS_PAIRS
  return __smlad((int16x2_t)a, (int16x2_t)b, sum);
#else
  return sum + (int16_t)a * (int16_t)b + (int16_t)(a >> 16) * (int16_t)(b >> 16);
#endif
}

/* sum + a.low * b.low, and sum + a.high * b.high */
static inline int32_t tinytl_internal_multiply_low(uint32_t a, uint32_t b, int32_t sum) {
  return sum + (int16_t)a * (int16_t)b;
}

static inline int32_t tinytl_internal_multiply_high(uint32_t a, uint32_t b, int32_t sum) {
  return sum + ((int32_t)a >> 16) * ((int32_t)b >> 16);
}

#endif
