#include <string.h>

#include "internal/check.h"
#include "internal/rows.h"
#include "tinytl/elementwise.h"

tinytl_status tinytl_activate(const float *x, int32_t pixels, int32_t channels, tinytl_activation activation, float *y,
                              uint8_t *mask) {
  if (!x || !y) return TINYTL_ERROR_NULL;
  if (pixels < 1 || channels < 1) return TINYTL_ERROR_SHAPE;
  if (!tinytl_internal_is_activation(activation)) return TINYTL_ERROR_ARGUMENT;
  if (x != y) memcpy(y, x, (size_t)pixels * (size_t)channels * sizeof *y);
  tinytl_internal_activate_rows(y, pixels, channels, activation, mask);
  return TINYTL_OK;
}
