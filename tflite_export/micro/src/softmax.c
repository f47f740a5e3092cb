#include "internal/softmax.h"

#include <math.h>

tinytl_status tinytl_softmax(int32_t rows, int32_t classes, const float *logits, float *probabilities) {
  if (!logits || !probabilities) return TINYTL_ERROR_NULL;
  if (rows < 1 || classes < 1) return TINYTL_ERROR_SHAPE;
  for (int32_t row = 0; row < rows; ++row, logits += classes, probabilities += classes) {
    const float total = tinytl_internal_log_sum_exp(logits, classes);
    for (int32_t i = 0; i < classes; ++i) probabilities[i] = expf(logits[i] - total);
  }
  return TINYTL_OK;
}
