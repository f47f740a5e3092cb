#include "tinytl/program.h"

tinytl_status tinytl_subtract(const float *a, const float *b, int32_t count, float *y) {
  if (!a || !b || !y) return TINYTL_ERROR_NULL;
  if (count < 1) return TINYTL_ERROR_SHAPE;
  for (int32_t i = 0; i < count; ++i) y[i] = a[i] - b[i];
  return TINYTL_OK;
}
