#include "internal/rows.h"

void tinytl_internal_mask_rows(const float *x, const uint8_t *mask, int32_t pixels, int32_t channels, float *y) {
  for (int32_t pixel = 0; pixel < pixels; ++pixel) {
    int32_t c = 0;
    for (; c + 8 <= channels; c += 8, x += 8, y += 8) {
      const uint32_t bits = *mask++;
#define ONE(j) y[j] = bits & (1u << (j)) ? x[j] : 0.0f;
      ONE(0) ONE(1) ONE(2) ONE(3) ONE(4) ONE(5) ONE(6) ONE(7)
    }
    if (c < channels) {
      const uint32_t bits = *mask++;
      for (int32_t j = 0; j < channels - c; ++j) ONE(j)
      x += channels - c;
      y += channels - c;
    }
#undef ONE
  }
}
