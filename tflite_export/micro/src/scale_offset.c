#include "tinytl/elementwise.h"

tinytl_status tinytl_scale_offset(const float *x, int32_t count, float factor, float offset, float *y) {
  if (!x || !y) return TINYTL_ERROR_NULL;
  if (count < 1) return TINYTL_ERROR_SHAPE;
  for (int32_t i = 0; i < count; ++i) y[i] = x[i] * factor + offset;
  return TINYTL_OK;
}
