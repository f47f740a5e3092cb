/* Softmax and cross-entropy on logits [rows, classes], 1 <= classes. */
#ifndef TINYTL_LOSS_H
#define TINYTL_LOSS_H

#include "tinytl/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tinytl_loss_params {
  int32_t rows;
  int32_t classes;
  float label_smoothing; /* in [0, 1): targets become target * (1 - s) + s / classes */
  float divisor;         /* of the gradient: > 0, or 0 for the number of valid rows (the mean) */
} tinytl_loss_params;

/* What one call found. The mean loss is loss_sum / valid; with valid 0 dlogits is all zero and nothing is to be
 * updated. finite: no logit of a valid row was an infinity or a NaN. correct: rows whose largest logit (the first
 * on a tie) is the label's class (for dense targets: the target's largest). */
typedef struct tinytl_loss_result {
  float loss_sum;
  int32_t correct;
  int32_t valid;
  bool finite;
} tinytl_loss_result;

/* Sparse labels int32[rows]; a row whose label is outside [0, classes) is not valid: no loss, gradient 0.
 * dlogits [rows, classes] = (softmax - target) / divisor, or NULL. In place: dlogits may be logits. */
tinytl_status tinytl_sparse_cross_entropy(const tinytl_loss_params *params, const float *logits, const int32_t *labels,
                                          float *dlogits, tinytl_loss_result *result);

/* Dense targets float[rows, classes]; a row that holds a NaN is not valid. dlogits as above, with
 * (softmax * sum of targets - target) / divisor. */
tinytl_status tinytl_dense_cross_entropy(const tinytl_loss_params *params, const float *logits, const float *targets,
                                         float *dlogits, tinytl_loss_result *result);

/* probabilities [rows, classes] = softmax(logits). In place: probabilities may be logits. */
tinytl_status tinytl_softmax(int32_t rows, int32_t classes, const float *logits, float *probabilities);

/* The mean over the outputs of one row of (prediction - target)^2: rows = 1, classes the number of outputs, and its
 * gradient 2 (prediction - target) / outputs. Targets with a NaN are not valid. Nothing counts as correct. In place:
 * gradient may be predictions. */
tinytl_status tinytl_squared_error(const tinytl_loss_params *params, const float *predictions, const float *targets,
                                   float *gradient, tinytl_loss_result *result);

/* The mean over the logits of one row of -t log sigmoid(z) - (1 - t) log(1 - sigmoid(z)), t = target (1 - s) + s / 2:
 * rows = 1. A row is correct where all its logits are on the right side of 0. In place: dlogits may be logits. */
tinytl_status tinytl_binary_cross_entropy(const tinytl_loss_params *params, const float *logits, const float *targets,
                                          float *dlogits, tinytl_loss_result *result);

#ifdef __cplusplus
}
#endif
#endif
