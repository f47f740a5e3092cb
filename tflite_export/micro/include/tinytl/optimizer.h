/* Optimisers: SGD, momentum, Nesterov and Adam as Keras defines them, with decoupled weight decay.
 *
 * With rate = learning_rate and g = gradient_scale * gradient:
 *   all       w -= rate * weight_decay * w                     (before the rest)
 *   SGD       w -= rate * g
 *   MOMENTUM  v = momentum * v - rate * g;  w += v             (nesterov: w += momentum * v - rate * g)
 *   ADAM      m += (g - m) * (1 - beta_1);  s += (g*g - s) * (1 - beta_2);
 *             w -= rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(s) + epsilon)
 */
#ifndef TINYTL_OPTIMIZER_H
#define TINYTL_OPTIMIZER_H

#include "tinytl/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tinytl_optimizer_kind { TINYTL_SGD = 0, TINYTL_MOMENTUM = 1, TINYTL_ADAM = 2 } tinytl_optimizer_kind;

/* learning_rate any finite value; momentum in [0, 1); beta_1, beta_2 in (0, 1); epsilon > 0; weight_decay >= 0.
 * What a kind does not use is ignored. gradient_scale multiplies every gradient first: 1 as a rule, 1/rows or a
 * clipping factor when accumulated gradients are applied; 0 is legal. */
typedef struct tinytl_optimizer {
  tinytl_optimizer_kind kind;
  bool nesterov;
  float learning_rate;
  float momentum;
  float beta_1, beta_2, epsilon;
  float weight_decay;
  float gradient_scale;
  float adam_rate; /* written by tinytl_optimizer_begin_step */
} tinytl_optimizer;

/* A trainable tensor and its optimiser state, each of the tensor's size and layout, all zero before the first step.
 * first:  momentum's v, Adam's m; NULL for SGD.
 * second: Adam's s; NULL otherwise. */
typedef struct tinytl_variable {
  float *value;
  float *first;
  float *second;
} tinytl_variable;

/* Call once before the updates of step `step`, which counts from 1: checks the fields and fills adam_rate. */
tinytl_status tinytl_optimizer_begin_step(tinytl_optimizer *optimizer, int32_t step);

/* Updates `count` elements from their gradient. `gradient` is read only. */
tinytl_status tinytl_update(const tinytl_optimizer *optimizer, const tinytl_variable *variable, const float *gradient,
                            int32_t count);

/* Sum of squares of a gradient, for clipping by the global norm: add the results, then
 * gradient_scale *= min(1, clip / sqrt(total)). */
tinytl_status tinytl_sum_of_squares(const float *values, int32_t count, float *sum);

/* *finite = no value is an infinity or a NaN: the gate before any update. Works under -ffast-math. */
tinytl_status tinytl_all_finite(const float *values, int32_t count, bool *finite);

#ifdef __cplusplus
}
#endif
#endif
