#include "internal/rows.h"
#include "tinytl/bias.h"

tinytl_status tinytl_mask_apply(const float *x, const uint8_t *mask, int32_t pixels, int32_t channels, float *y) {
  if (!x || !mask || !y) return TINYTL_ERROR_NULL;
  if (pixels < 1 || channels < 1) return TINYTL_ERROR_SHAPE;
  tinytl_internal_mask_rows(x, mask, pixels, channels, y);
  return TINYTL_OK;
}
