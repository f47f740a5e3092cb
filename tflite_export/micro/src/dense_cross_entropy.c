#include <math.h>

#include "internal/softmax.h"

static bool is_valid(const float *target, int32_t classes) {
  for (int32_t i = 0; i < classes; ++i) {
    if (target[i] != target[i]) return false;
  }
  return true;
}

tinytl_status tinytl_dense_cross_entropy(const tinytl_loss_params *params, const float *logits, const float *targets,
                                         float *dlogits, tinytl_loss_result *result) {
  if (!params || !logits || !targets || !result) return TINYTL_ERROR_NULL;
  const tinytl_status status = tinytl_internal_check_loss(params);
  if (status != TINYTL_OK) return status;
  const int32_t classes = params->classes;
  const float keep = 1.0f - params->label_smoothing, floor = params->label_smoothing / (float)classes;
  tinytl_loss_result found = {.finite = true};
  for (int32_t row = 0; row < params->rows; ++row) found.valid += is_valid(targets + row * classes, classes) ? 1 : 0;
  const float factor = tinytl_internal_gradient_factor(params, found.valid);
  for (int32_t row = 0; row < params->rows; ++row, logits += classes, targets += classes) {
    const bool valid = is_valid(targets, classes);
    if (valid) {
      const float total = tinytl_internal_log_sum_exp(logits, classes);
      float mass = 0.0f;
      for (int32_t i = 0; i < classes; ++i) mass += targets[i] * keep + floor;
      found.correct += tinytl_internal_argmax(logits, classes) == tinytl_internal_argmax(targets, classes) ? 1 : 0;
      found.finite = found.finite && tinytl_internal_is_finite_row(logits, classes);
      for (int32_t i = 0; i < classes; ++i) {
        const float log_probability = logits[i] - total, target = targets[i] * keep + floor;
        found.loss_sum -= target * log_probability;
        if (dlogits) dlogits[i] = (expf(log_probability) * mass - target) * factor;
      }
    } else if (dlogits) {
      for (int32_t i = 0; i < classes; ++i) dlogits[i] = 0.0f;
    }
    if (dlogits) dlogits += classes;
  }
  *result = found;
  return TINYTL_OK;
}
