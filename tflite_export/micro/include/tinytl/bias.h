/* Bias gradients: sums of dy over the pixels, and the mask of the activation applied on the way.
 *
 * dy [pixels, channels] is the gradient behind the activation when `mask` is given: it is multiplied by the mask *in
 * place* and so becomes the gradient before the activation, which the input gradient takes. With mask NULL, dy is that
 * already and is only read.
 * mask: tinytl_mask_bytes(pixels, channels) bytes, as forward wrote it.
 */
#ifndef TINYTL_BIAS_H
#define TINYTL_BIAS_H

#include "tinytl/optimizer.h"
#include "tinytl/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Masks dy, sums it and updates the bias float[channels], in one pass. */
tinytl_status tinytl_bias_update(float *dy, const uint8_t *mask, int32_t pixels, int32_t channels,
                                 const tinytl_variable *bias, const tinytl_optimizer *optimizer);

/* Masks dy and adds its sums to gradient float[channels]; zero that before the first sample. */
tinytl_status tinytl_bias_gradient(float *dy, const uint8_t *mask, int32_t pixels, int32_t channels, float *gradient);

/* y = x masked, where no bias is trained. In place: y may be x. */
tinytl_status tinytl_mask_apply(const float *x, const uint8_t *mask, int32_t pixels, int32_t channels, float *y);

#ifdef __cplusplus
}
#endif
#endif
