/* Depthwise convolution, depth multiplier 1.
 *
 * Kernel layout [1, window height, window width, channels] int8, kernel value = scale[c] * kernel[.., c];
 * scale float[channels]. The same buffer serves forward and input gradient. Legal: input and output have the same
 * batch and channels; see tinytl_window for the rest.
 */
#ifndef TINYTL_DEPTHWISE_H
#define TINYTL_DEPTHWISE_H

#include "tinytl/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tinytl_depthwise_params {
  tinytl_shape input;
  tinytl_shape output;
  tinytl_window window;
  tinytl_activation activation; /* read by forward only */
} tinytl_depthwise_params;

/* Bytes of workspace that forward and input gradient need: at most 136 for each tap of the window. */
size_t tinytl_depthwise_workspace_bytes(const tinytl_depthwise_params *params);

/* y = activation(x * kernel + bias). x [input], bias float[channels] or NULL, y [output],
 * mask: tinytl_mask_bytes(pixels of output, channels) bytes or NULL; all ones for TINYTL_ACTIVATION_NONE. */
tinytl_status tinytl_depthwise_forward(const tinytl_depthwise_params *params, const float *x, const int8_t *kernel,
                                       const float *scale, const float *bias, float *y, uint8_t *mask, void *workspace,
                                       size_t workspace_bytes);

/* dx = gradient in x, from dy [output], the gradient before the activation. accumulate: dx += instead of dx =.
 * mask_below (of dx's shape, or NULL) multiplies the result, accumulated part included. dx must not overlap dy. */
tinytl_status tinytl_depthwise_input_gradient(const tinytl_depthwise_params *params, const float *dy,
                                              const int8_t *kernel, const float *scale, const uint8_t *mask_below,
                                              bool accumulate, float *dx, void *workspace, size_t workspace_bytes);

#ifdef __cplusplus
}
#endif
#endif
