#include <math.h>

#include "tinytl/quantized.h"

tinytl_status tinytl_quantize_multiplier(double factor, int32_t *multiplier, int32_t *shift) {
  if (!multiplier || !shift) return TINYTL_ERROR_NULL;
  if (!(factor > 0.0) || !(factor < 1073741824.0)) return TINYTL_ERROR_ARGUMENT;
  int exponent;
  const double fraction = frexp(factor, &exponent);
  int64_t rounded = (int64_t)(fraction * 2147483648.0 + 0.5);
  if (rounded == INT64_C(2147483648)) {
    rounded /= 2;
    ++exponent;
  }
  *multiplier = exponent < -31 ? 0 : (int32_t)rounded;
  *shift = exponent < -31 ? 0 : exponent;
  return TINYTL_OK;
}
