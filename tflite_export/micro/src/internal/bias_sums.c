#include "internal/bias_sums.h"

#define EACH8(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#define BEGIN(j) float s##j = 0.0f;
#define END(j) sums[j] = s##j;

static void sum_8(const float *dy, int32_t pixels, int32_t channels, float *sums) {
#define STEP(j) s##j += dy[j];
  EACH8(BEGIN)
  for (; pixels > 0; --pixels, dy += channels) {
    EACH8(STEP)
  }
  EACH8(END)
#undef STEP
}

static void mask_and_sum_8(float *dy, const uint8_t *mask, int32_t pixels, int32_t channels, float *sums) {
  const size_t bytes = tinytl_mask_bytes(1, channels);
#define STEP(j)              \
  if (bits & (1u << (j))) {  \
    s##j += dy[j];           \
  } else {                   \
    dy[j] = 0.0f;            \
  }
  EACH8(BEGIN)
  for (; pixels > 0; --pixels, dy += channels, mask += bytes) {
    const uint32_t bits = *mask;
    EACH8(STEP)
  }
  EACH8(END)
#undef STEP
}

void tinytl_internal_bias_sums(float *dy, const uint8_t *mask, int32_t pixels, int32_t channels, int32_t channel,
                               int32_t count, float *sums) {
  const size_t bytes = tinytl_mask_bytes(1, channels);
  dy += channel;
  if (mask) mask += channel / 8;
  if (count == TINYTL_BIAS_BLOCK) {
    if (mask) {
      mask_and_sum_8(dy, mask, pixels, channels, sums);
    } else {
      sum_8(dy, pixels, channels, sums);
    }
    return;
  }
  for (int32_t j = 0; j < count; ++j) {
    float *d = dy + j;
    const uint8_t *byte = mask;
    float sum = 0.0f;
    for (int32_t pixel = 0; pixel < pixels; ++pixel, d += channels) {
      if (mask) {
        if (!(*byte & (1u << j))) *d = 0.0f;
        byte += bytes;
      }
      sum += *d;
    }
    sums[j] = sum;
  }
}
