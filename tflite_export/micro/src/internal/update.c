#include "internal/update.h"

#include <math.h>

tinytl_status tinytl_internal_check_update(const tinytl_optimizer *optimizer, const tinytl_variable *variable) {
  if (!optimizer || !variable || !variable->value) return TINYTL_ERROR_NULL;
  if (optimizer->kind != TINYTL_SGD && optimizer->kind != TINYTL_MOMENTUM && optimizer->kind != TINYTL_ADAM) {
    return TINYTL_ERROR_ARGUMENT;
  }
  if (optimizer->kind != TINYTL_SGD && !variable->first) return TINYTL_ERROR_NULL;
  if (optimizer->kind == TINYTL_ADAM && !variable->second) return TINYTL_ERROR_NULL;
  return TINYTL_OK;
}

static void sgd(const tinytl_optimizer *optimizer, float *value, const float *gradient, int32_t count) {
  const float rate = optimizer->learning_rate * optimizer->gradient_scale;
  for (int32_t i = 0; i < count; ++i) value[i] -= rate * gradient[i];
}

static void momentum(const tinytl_optimizer *optimizer, float *value, float *velocity, const float *gradient,
                     int32_t count) {
  const float rate = optimizer->learning_rate * optimizer->gradient_scale;
  const float factor = optimizer->momentum;
  for (int32_t i = 0; i < count; ++i) {
    const float descent = rate * gradient[i];
    const float next = factor * velocity[i] - descent;
    velocity[i] = next;
    value[i] += optimizer->nesterov ? factor * next - descent : next;
  }
}

static void adam(const tinytl_optimizer *optimizer, float *value, float *mean, float *square, const float *gradient,
                 int32_t count) {
  const float rate = optimizer->adam_rate, epsilon = optimizer->epsilon;
  const float new_mean = 1.0f - optimizer->beta_1, new_square = 1.0f - optimizer->beta_2;
  for (int32_t i = 0; i < count; ++i) {
    const float g = optimizer->gradient_scale * gradient[i];
    const float m = mean[i] + (g - mean[i]) * new_mean;
    const float s = square[i] + (g * g - square[i]) * new_square;
    mean[i] = m;
    square[i] = s;
    value[i] -= rate * m / (sqrtf(s) + epsilon);
  }
}

void tinytl_internal_update(const tinytl_optimizer *optimizer, const tinytl_variable *variable, int32_t first,
                            const float *gradient, int32_t count) {
  float *const value = variable->value + first;
  if (optimizer->weight_decay != 0.0f) {
    const float keep = optimizer->learning_rate * optimizer->weight_decay;
    for (int32_t i = 0; i < count; ++i) value[i] -= keep * value[i];
  }
  switch (optimizer->kind) {
    case TINYTL_SGD:
      sgd(optimizer, value, gradient, count);
      break;
    case TINYTL_MOMENTUM:
      momentum(optimizer, value, variable->first + first, gradient, count);
      break;
    case TINYTL_ADAM:
      adam(optimizer, value, variable->first + first, variable->second + first, gradient, count);
      break;
  }
}
