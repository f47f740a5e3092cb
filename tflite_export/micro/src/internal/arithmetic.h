/* Small inline arithmetic that the kernels share. */
#ifndef TINYTL_INTERNAL_ARITHMETIC_H
#define TINYTL_INTERNAL_ARITHMETIC_H

#include <stdint.h>
#include <string.h>

/* sum + a * b: one fused instruction where the processor has it, whatever -ffp-contract says (-std=c11 switches
 * contraction off, which would double the multiply-accumulates). */
#if defined(__ARM_FEATURE_FMA) && defined(__GNUC__)
#define TINYTL_MULTIPLY_ADD(sum, a, b) __builtin_fmaf((a), (b), (sum))
#else
#define TINYTL_MULTIPLY_ADD(sum, a, b) ((sum) + (a) * (b))
#endif

static inline int32_t tinytl_internal_min(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t tinytl_internal_max(int32_t a, int32_t b) { return a > b ? a : b; }

static inline int32_t tinytl_internal_bits(float value) {
  int32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static inline float tinytl_internal_from_bits(int32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

#endif
