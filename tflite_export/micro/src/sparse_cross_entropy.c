#include <math.h>

#include "internal/softmax.h"

static bool is_valid(int32_t label, int32_t classes) { return label >= 0 && label < classes; }

/* The smoothed target of one class. */
static float target_of(const tinytl_loss_params *params, int32_t label, int32_t index) {
  const float floor = params->label_smoothing / (float)params->classes;
  return index == label ? 1.0f - params->label_smoothing + floor : floor;
}

tinytl_status tinytl_sparse_cross_entropy(const tinytl_loss_params *params, const float *logits, const int32_t *labels,
                                          float *dlogits, tinytl_loss_result *result) {
  if (!params || !logits || !labels || !result) return TINYTL_ERROR_NULL;
  const tinytl_status status = tinytl_internal_check_loss(params);
  if (status != TINYTL_OK) return status;
  const int32_t classes = params->classes;
  tinytl_loss_result found = {.finite = true};
  for (int32_t row = 0; row < params->rows; ++row) found.valid += is_valid(labels[row], classes) ? 1 : 0;
  const float factor = tinytl_internal_gradient_factor(params, found.valid);
  for (int32_t row = 0; row < params->rows; ++row, logits += classes) {
    const int32_t label = labels[row];
    const bool valid = is_valid(label, classes);
    if (valid) {
      const float total = tinytl_internal_log_sum_exp(logits, classes);
      found.correct += tinytl_internal_argmax(logits, classes) == label ? 1 : 0;
      found.finite = found.finite && tinytl_internal_is_finite_row(logits, classes);
      for (int32_t i = 0; i < classes; ++i) {
        const float log_probability = logits[i] - total, target = target_of(params, label, i);
        found.loss_sum -= target * log_probability;
        if (dlogits) dlogits[i] = (expf(log_probability) - target) * factor;
      }
    } else if (dlogits) {
      for (int32_t i = 0; i < classes; ++i) dlogits[i] = 0.0f;
    }
    if (dlogits) dlogits += classes;
  }
  *result = found;
  return TINYTL_OK;
}
