/* Pointwise (1x1, stride 1) convolution, and the dense layer: a dense layer is one whose pixels are the batch's rows.
 *
 * x [pixels, input_channels], y [pixels, output_channels]; kernel [output_channels, input_channels] (TFLite's layout of
 * both CONV_2D 1x1 and FULLY_CONNECTED), int8 with float scale[output_channels], or float (_f32) where it is trained.
 * The same buffer serves forward and input gradient. Legal: all three counts >= 1. A strided 1x1 is tinytl_conv_*.
 */
#ifndef TINYTL_POINTWISE_H
#define TINYTL_POINTWISE_H

#include "tinytl/optimizer.h"
#include "tinytl/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tinytl_pointwise_params {
  int32_t pixels; /* batch * height * width, or the batch of a dense layer */
  int32_t input_channels;
  int32_t output_channels;
  tinytl_activation activation; /* read by forward only */
} tinytl_pointwise_params;

/* Bytes of workspace that forward and input gradient need, for either kernel type: a little over 4 KB. */
size_t tinytl_pointwise_workspace_bytes(const tinytl_pointwise_params *params);

/* y = activation(x kernel^T + bias). bias float[output_channels] or NULL.
 * mask: tinytl_mask_bytes(pixels, output_channels) bytes or NULL; all ones for TINYTL_ACTIVATION_NONE. */
tinytl_status tinytl_pointwise_forward(const tinytl_pointwise_params *params, const float *x, const int8_t *kernel,
                                       const float *scale, const float *bias, float *y, uint8_t *mask, void *workspace,
                                       size_t workspace_bytes);

tinytl_status tinytl_pointwise_forward_f32(const tinytl_pointwise_params *params, const float *x, const float *kernel,
                                           const float *bias, float *y, uint8_t *mask, void *workspace,
                                           size_t workspace_bytes);

/* dx = gradient in x, from dy, the gradient before the activation. accumulate: dx += instead of dx =.
 * mask_below (of dx's shape, or NULL) multiplies the result, accumulated part included. dx must not overlap dy. */
tinytl_status tinytl_pointwise_input_gradient(const tinytl_pointwise_params *params, const float *dy,
                                              const int8_t *kernel, const float *scale, const uint8_t *mask_below,
                                              bool accumulate, float *dx, void *workspace, size_t workspace_bytes);

tinytl_status tinytl_pointwise_input_gradient_f32(const tinytl_pointwise_params *params, const float *dy,
                                                  const float *kernel, const uint8_t *mask_below, bool accumulate,
                                                  float *dx, void *workspace, size_t workspace_bytes);

/* gradient += dy^T x, [output_channels, input_channels]; zero it before the first sample. */
tinytl_status tinytl_pointwise_kernel_gradient(const tinytl_pointwise_params *params, const float *x, const float *dy,
                                               float *gradient);

/* The gradient in the kernel, applied at once: it is never stored. The input gradient of this layer reads the old
 * kernel: call it first. */
tinytl_status tinytl_pointwise_kernel_update(const tinytl_pointwise_params *params, const float *x, const float *dy,
                                             const tinytl_variable *kernel, const tinytl_optimizer *optimizer);

#ifdef __cplusplus
}
#endif
#endif
