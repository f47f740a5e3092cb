#include "tinytl/program.h"

tinytl_status tinytl_pixels_to_int8(const uint8_t *x, int32_t count, int8_t *q) {
  if (!x || !q) return TINYTL_ERROR_NULL;
  if (count < 1) return TINYTL_ERROR_SHAPE;
  for (int32_t i = 0; i < count; ++i) q[i] = (int8_t)(x[i] - 128);
  return TINYTL_OK;
}
