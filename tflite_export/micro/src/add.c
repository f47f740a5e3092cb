#include "internal/check.h"
#include "internal/rows.h"
#include "tinytl/elementwise.h"

tinytl_status tinytl_add(const float *a, const float *b, int32_t pixels, int32_t channels,
                         tinytl_activation activation, float *y, uint8_t *mask) {
  if (!a || !b || !y) return TINYTL_ERROR_NULL;
  if (pixels < 1 || channels < 1) return TINYTL_ERROR_SHAPE;
  if (!tinytl_internal_is_activation(activation)) return TINYTL_ERROR_ARGUMENT;
  const int32_t count = pixels * channels;
  int32_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const float y0 = a[i] + b[i], y1 = a[i + 1] + b[i + 1], y2 = a[i + 2] + b[i + 2], y3 = a[i + 3] + b[i + 3];
    y[i] = y0;
    y[i + 1] = y1;
    y[i + 2] = y2;
    y[i + 3] = y3;
  }
  for (; i < count; ++i) y[i] = a[i] + b[i];
  tinytl_internal_activate_rows(y, pixels, channels, activation, mask);
  return TINYTL_OK;
}
