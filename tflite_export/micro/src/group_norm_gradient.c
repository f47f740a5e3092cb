#include "internal/group_norm.h"
#include "internal/rows.h"

/* The sums over one channel's pixels of dy and of dy * (x - mean). */
static void sum_channel(const float *x, const float *dy, float mean, int32_t pixels, int32_t channels, float *sum,
                        float *product) {
  float s = 0.0f, p = 0.0f;
  for (; pixels > 0; --pixels, x += channels, dy += channels) {
    s += *dy;
    p += *dy * (*x - mean);
  }
  *sum = s;
  *product = p;
}

/* dx = dy * gamma * rstd - (x - mean) * slope - offset, for one channel. */
static void spread_channel(const float *x, const float *dy, float mean, float factor, float slope, float offset,
                           int32_t pixels, int32_t channels, bool accumulate, float *dx) {
  for (; pixels > 0; --pixels, x += channels, dy += channels, dx += channels) {
    const float value = *dy * factor - (*x - mean) * slope - offset;
    *dx = accumulate ? *dx + value : value;
  }
}

tinytl_status tinytl_group_norm_gradient(const tinytl_group_norm_params *params, const float *x, const float *dy,
                                         const float *gamma, const float *mean, const float *rstd,
                                         float *gamma_gradient, float *beta_gradient, const uint8_t *mask_below,
                                         bool accumulate, float *dx) {
  if (!params || !x || !dy || !mean || !rstd) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_group_norm(params)) return TINYTL_ERROR_SHAPE;
  const tinytl_shape *const shape = &params->shape;
  const int32_t pixels = shape->height * shape->width, channels = shape->channels, size = channels / params->groups;
  const float share = 1.0f / ((float)pixels * (float)size);
  for (int32_t n = 0; n < shape->batch; ++n) {
    for (int32_t channel = 0; channel < channels; channel += size, ++mean, ++rstd) {
      const int32_t first = n * pixels * channels + channel;
      float sum_of_group = 0.0f, product_of_group = 0.0f;
      for (int32_t c = 0; c < size; ++c) {
        float sum, product;
        sum_channel(x + first + c, dy + first + c, *mean, pixels, channels, &sum, &product);
        product *= *rstd;
        if (beta_gradient) beta_gradient[channel + c] += sum;
        if (gamma_gradient) gamma_gradient[channel + c] += product;
        const float weight = gamma ? gamma[channel + c] : 1.0f;
        sum_of_group += weight * sum;
        product_of_group += weight * product;
      }
      if (!dx) continue;
      const float slope = *rstd * *rstd * product_of_group * share, offset = *rstd * sum_of_group * share;
      for (int32_t c = 0; c < size; ++c) {
        const float factor = gamma ? *rstd * gamma[channel + c] : *rstd;
        spread_channel(x + first + c, dy + first + c, *mean, factor, slope, offset, pixels, channels, accumulate,
                       dx + first + c);
      }
    }
  }
  if (dx && mask_below) tinytl_internal_mask_rows(dx, mask_below, tinytl_pixels(shape), channels, dx);
  return TINYTL_OK;
}
