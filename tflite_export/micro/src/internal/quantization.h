#ifndef TINYTL_INTERNAL_QUANTIZATION_H
#define TINYTL_INTERNAL_QUANTIZATION_H

#include <math.h>

#include "internal/requantize.h"

static inline bool tinytl_internal_is_quantization(const tinytl_quantization *quantization) {
  return quantization->scale > 0.0f && quantization->scale < INFINITY &&
         tinytl_internal_is_zero_point(quantization->zero_point);
}

/* Half away from zero, saturated to `limit` either way; a NaN gives 0. */
static inline int32_t tinytl_internal_round(float value, float limit) {
  if (value >= limit) return (int32_t)limit;
  if (value <= -limit) return -(int32_t)limit;
  return value == value ? (int32_t)(value + (value < 0.0f ? -0.5f : 0.5f)) : 0;
}

#endif
