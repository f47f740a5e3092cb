#include <math.h>

#include "tinytl/loss.h"

tinytl_status tinytl_squared_error(const tinytl_loss_params *params, const float *predictions, const float *targets,
                                   float *gradient, tinytl_loss_result *result) {
  if (!params || !predictions || !targets || !result) return TINYTL_ERROR_NULL;
  if (params->rows != 1 || params->classes < 1) return TINYTL_ERROR_SHAPE;
  const int32_t count = params->classes;
  float sum = 0.0f;
  bool valid = true, finite = true;
  for (int32_t i = 0; i < count; ++i) {
    if (isnan(targets[i])) valid = false;
    if (!isfinite(predictions[i])) finite = false;
  }
  for (int32_t i = 0; i < count; ++i) {
    const float difference = valid ? predictions[i] - targets[i] : 0.0f;
    sum += difference * difference / (float)count;
    if (gradient) gradient[i] = 2.0f * difference / (float)count;
  }
  *result = (tinytl_loss_result){.loss_sum = sum, .correct = 0, .valid = valid, .finite = finite};
  return TINYTL_OK;
}
