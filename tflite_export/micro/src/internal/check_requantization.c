#include "internal/requantize.h"

tinytl_status tinytl_internal_check_requantization(const tinytl_requantization *r, int32_t channels) {
  if (!r || !r->multiplier || !r->shift) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_zero_point(r->input_zero_point) || !tinytl_internal_is_zero_point(r->output_zero_point) ||
      !tinytl_internal_is_range(r->activation_min, r->activation_max)) {
    return TINYTL_ERROR_ARGUMENT;
  }
  for (int32_t c = 0; c < channels; ++c) {
    if (r->multiplier[c] < 0 || r->shift[c] < -31 || r->shift[c] > 30) return TINYTL_ERROR_ARGUMENT;
  }
  return TINYTL_OK;
}
