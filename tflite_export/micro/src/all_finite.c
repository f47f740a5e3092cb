#include "internal/arithmetic.h"
#include "tinytl/optimizer.h"

#define EXPONENT_BITS 0x7F800000

tinytl_status tinytl_all_finite(const float *values, int32_t count, bool *finite) {
  if (!values || !finite) return TINYTL_ERROR_NULL;
  if (count < 1) return TINYTL_ERROR_SHAPE;
  *finite = true;
  for (int32_t i = 0; i < count; ++i) {
    if ((tinytl_internal_bits(values[i]) & EXPONENT_BITS) == EXPONENT_BITS) *finite = false;
  }
  return TINYTL_OK;
}
