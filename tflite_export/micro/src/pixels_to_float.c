#include "tinytl/program.h"

tinytl_status tinytl_pixels_to_float(const uint8_t *x, int32_t count, float factor, float offset, float *y) {
  if (!x || !y) return TINYTL_ERROR_NULL;
  if (count < 1) return TINYTL_ERROR_SHAPE;
  for (int32_t i = 0; i < count; ++i) y[i] = (float)x[i] * factor + offset;
  return TINYTL_OK;
}
