#include "internal/arithmetic.h"
#include "internal/bias_sums.h"
#include "internal/update.h"
#include "tinytl/bias.h"

tinytl_status tinytl_bias_update(float *dy, const uint8_t *mask, int32_t pixels, int32_t channels,
                                 const tinytl_variable *bias, const tinytl_optimizer *optimizer) {
  const tinytl_status status = tinytl_internal_check_update(optimizer, bias);
  if (status != TINYTL_OK) return status;
  if (!dy) return TINYTL_ERROR_NULL;
  if (pixels < 1 || channels < 1) return TINYTL_ERROR_SHAPE;
  for (int32_t channel = 0; channel < channels; channel += TINYTL_BIAS_BLOCK) {
    const int32_t count = tinytl_internal_min(TINYTL_BIAS_BLOCK, channels - channel);
    float sums[TINYTL_BIAS_BLOCK];
    tinytl_internal_bias_sums(dy, mask, pixels, channels, channel, count, sums);
    tinytl_internal_update(optimizer, bias, channel, sums, count);
  }
  return TINYTL_OK;
}
