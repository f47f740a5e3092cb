/* Group normalisation, forward and exact backward.
 *
 * x [shape]; group g of a sample holds the channels [g*size, (g+1)*size), size = channels / groups, of all its pixels.
 * y = activation((x - mean) * rsqrt(variance + epsilon) * gamma + beta), the variance over n, not n-1.
 * Legal: groups >= 1 divides channels; epsilon > 0.
 */
#ifndef TINYTL_GROUP_NORM_H
#define TINYTL_GROUP_NORM_H

#include "tinytl/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tinytl_group_norm_params {
  tinytl_shape shape;
  int32_t groups;
  float epsilon;
  tinytl_activation activation; /* read by forward only */
} tinytl_group_norm_params;

/* gamma, beta float[channels], either may be NULL (1 and 0). mean and rstd float[batch * groups]: what backward needs,
 * both NULL where there is none. mask as of a convolution, or NULL. In place: y may be x, but backward needs x. */
tinytl_status tinytl_group_norm_forward(const tinytl_group_norm_params *params, const float *x, const float *gamma,
                                        const float *beta, float *y, float *mean, float *rstd, uint8_t *mask);

/* From dy, the gradient before the activation, the x of forward, and its mean and rstd:
 * gamma_gradient, beta_gradient float[channels]: += , either may be NULL where it is not trained (then
 * tinytl_update). dx [shape] or NULL; accumulate: dx += instead of dx =. mask_below (of dx's shape, or NULL)
 * multiplies dx, accumulated part included. In place: dx may be dy or x, if not accumulate. */
tinytl_status tinytl_group_norm_gradient(const tinytl_group_norm_params *params, const float *x, const float *dy,
                                         const float *gamma, const float *mean, const float *rstd,
                                         float *gamma_gradient, float *beta_gradient, const uint8_t *mask_below,
                                         bool accumulate, float *dx);

#ifdef __cplusplus
}
#endif
#endif
