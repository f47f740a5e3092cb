/* One row of logits. */
#ifndef TINYTL_INTERNAL_SOFTMAX_H
#define TINYTL_INTERNAL_SOFTMAX_H

#include "tinytl/loss.h"

/* The index of the largest value, the first on a tie. */
int32_t tinytl_internal_argmax(const float *values, int32_t count);

/* log(sum exp(logits)), stable. */
float tinytl_internal_log_sum_exp(const float *logits, int32_t classes);

bool tinytl_internal_is_finite_row(const float *values, int32_t count);

tinytl_status tinytl_internal_check_loss(const tinytl_loss_params *params);

/* The factor of the gradient: 1 / divisor, or 1 / valid rows; 0 where none is valid. */
float tinytl_internal_gradient_factor(const tinytl_loss_params *params, int32_t valid);

#endif
