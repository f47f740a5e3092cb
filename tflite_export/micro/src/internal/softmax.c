#include "internal/softmax.h"

#include <math.h>

#include "internal/arithmetic.h"

#define EXPONENT_BITS 0x7F800000

int32_t tinytl_internal_argmax(const float *values, int32_t count) {
  int32_t best = 0;
  for (int32_t i = 1; i < count; ++i) {
    if (values[i] > values[best]) best = i;
  }
  return best;
}

float tinytl_internal_log_sum_exp(const float *logits, int32_t classes) {
  const float largest = logits[tinytl_internal_argmax(logits, classes)];
  float sum = 0.0f;
  for (int32_t i = 0; i < classes; ++i) sum += expf(logits[i] - largest);
  return largest + logf(sum);
}

bool tinytl_internal_is_finite_row(const float *values, int32_t count) {
  for (int32_t i = 0; i < count; ++i) {
    if ((tinytl_internal_bits(values[i]) & EXPONENT_BITS) == EXPONENT_BITS) return false;
  }
  return true;
}

tinytl_status tinytl_internal_check_loss(const tinytl_loss_params *params) {
  if (params->rows < 1 || params->classes < 1) return TINYTL_ERROR_SHAPE;
  if (!(params->label_smoothing >= 0.0f && params->label_smoothing < 1.0f)) return TINYTL_ERROR_ARGUMENT;
  if (!(params->divisor >= 0.0f)) return TINYTL_ERROR_ARGUMENT;
  return TINYTL_OK;
}

float tinytl_internal_gradient_factor(const tinytl_loss_params *params, int32_t valid) {
  if (valid == 0) return 0.0f;
  return 1.0f / (params->divisor > 0.0f ? params->divisor : (float)valid);
}
