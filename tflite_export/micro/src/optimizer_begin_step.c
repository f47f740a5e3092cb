#include <math.h>

#include "tinytl/optimizer.h"

static bool is_adam(const tinytl_optimizer *optimizer) {
  return optimizer->beta_1 > 0.0f && optimizer->beta_1 < 1.0f && optimizer->beta_2 > 0.0f && optimizer->beta_2 < 1.0f &&
         optimizer->epsilon > 0.0f;
}

tinytl_status tinytl_optimizer_begin_step(tinytl_optimizer *optimizer, int32_t step) {
  if (!optimizer) return TINYTL_ERROR_NULL;
  if (step < 1 || !(fabsf(optimizer->learning_rate) < INFINITY) || !(optimizer->weight_decay >= 0.0f)) {
    return TINYTL_ERROR_ARGUMENT;
  }
  switch (optimizer->kind) {
    case TINYTL_SGD:
      return TINYTL_OK;
    case TINYTL_MOMENTUM:
      return optimizer->momentum >= 0.0f && optimizer->momentum < 1.0f ? TINYTL_OK : TINYTL_ERROR_ARGUMENT;
    case TINYTL_ADAM:
      if (!is_adam(optimizer)) return TINYTL_ERROR_ARGUMENT;
      /* 1 - beta^t by expm1: in float, 1 - powf(0.999, 1) would keep four digits. */
      optimizer->adam_rate = optimizer->learning_rate *
                             sqrtf(-expm1f((float)step * logf(optimizer->beta_2))) /
                             -expm1f((float)step * logf(optimizer->beta_1));
      return TINYTL_OK;
  }
  return TINYTL_ERROR_ARGUMENT;
}
