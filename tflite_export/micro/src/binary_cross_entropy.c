#include <math.h>

#include "tinytl/loss.h"

tinytl_status tinytl_binary_cross_entropy(const tinytl_loss_params *params, const float *logits, const float *targets,
                                          float *dlogits, tinytl_loss_result *result) {
  if (!params || !logits || !targets || !result) return TINYTL_ERROR_NULL;
  if (params->rows != 1 || params->classes < 1) return TINYTL_ERROR_SHAPE;
  if (!(params->label_smoothing >= 0.0f && params->label_smoothing < 1.0f)) return TINYTL_ERROR_ARGUMENT;
  const int32_t count = params->classes;
  float sum = 0.0f;
  bool valid = true, finite = true, right = true;
  for (int32_t i = 0; i < count; ++i) {
    if (isnan(targets[i])) valid = false;
    if (!isfinite(logits[i])) finite = false;
    if ((logits[i] > 0.0f) != (targets[i] > 0.5f)) right = false;
  }
  for (int32_t i = 0; i < count; ++i) {
    const float z = logits[i];
    const float target = targets[i] * (1.0f - params->label_smoothing) + 0.5f * params->label_smoothing;
    const float small = expf(-fabsf(z)); /* of no sum below does a term overflow */
    const float sigmoid = z >= 0.0f ? 1.0f / (1.0f + small) : small / (1.0f + small);
    if (valid) sum += (fmaxf(z, 0.0f) - z * target + log1pf(small)) / (float)count;
    if (dlogits) dlogits[i] = valid ? (sigmoid - target) / (float)count : 0.0f;
  }
  *result = (tinytl_loss_result){.loss_sum = sum, .correct = valid && right, .valid = valid, .finite = finite};
  return TINYTL_OK;
}
