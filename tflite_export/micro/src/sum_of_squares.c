#include "tinytl/optimizer.h"

tinytl_status tinytl_sum_of_squares(const float *values, int32_t count, float *sum) {
  if (!values || !sum) return TINYTL_ERROR_NULL;
  if (count < 1) return TINYTL_ERROR_SHAPE;
  float total = 0.0f;
  for (int32_t i = 0; i < count; ++i) total += values[i] * values[i];
  *sum = total;
  return TINYTL_OK;
}
