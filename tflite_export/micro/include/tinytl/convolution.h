/* 2-D convolution and group convolution.
 *
 * Kernel layout OHWI: [output channels, window height, window width, input channels / groups], output channel o
 * belongs to group o / (output channels / groups) and reads the input channels of that group.
 *   int8 kernels:  kernel value = scale[o] * kernel[o, ...], no zero point; scale is float[output channels]
 *   float kernels: the functions that end in _f32, for trained kernels
 * The same buffer serves forward and input gradient.
 *
 * Legal: groups >= 1 divides both channel counts; batches agree; see tinytl_window for the rest.
 */
#ifndef TINYTL_CONVOLUTION_H
#define TINYTL_CONVOLUTION_H

#include "tinytl/optimizer.h"
#include "tinytl/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tinytl_conv_params {
  tinytl_shape input;
  tinytl_shape output;
  tinytl_window window;
  int32_t groups;
  tinytl_activation activation; /* read by forward only */
} tinytl_conv_params;

/* Bytes of workspace that forward and input gradient need, for either kernel type: 40 for each tap of the window, or a
 * little over 4 KB if that is more. */
size_t tinytl_conv_workspace_bytes(const tinytl_conv_params *params);

/* y = activation(x * kernel + bias).
 * x [input], bias float[output channels] or NULL, y [output],
 * mask: tinytl_mask_bytes(pixels of output, output channels) bytes or NULL; all ones for TINYTL_ACTIVATION_NONE. */
tinytl_status tinytl_conv_forward(const tinytl_conv_params *params, const float *x, const int8_t *kernel,
                                  const float *scale, const float *bias, float *y, uint8_t *mask, void *workspace,
                                  size_t workspace_bytes);

tinytl_status tinytl_conv_forward_f32(const tinytl_conv_params *params, const float *x, const float *kernel,
                                      const float *bias, float *y, uint8_t *mask, void *workspace,
                                      size_t workspace_bytes);

/* dx = gradient in x, from dy [output], the gradient before the activation.
 * accumulate: dx += instead of dx =. mask_below (of dx's shape, or NULL) multiplies the result, accumulated part
 * included. dx [input]; dx must not overlap dy. */
tinytl_status tinytl_conv_input_gradient(const tinytl_conv_params *params, const float *dy, const int8_t *kernel,
                                         const float *scale, const uint8_t *mask_below, bool accumulate, float *dx,
                                         void *workspace, size_t workspace_bytes);

tinytl_status tinytl_conv_input_gradient_f32(const tinytl_conv_params *params, const float *dy, const float *kernel,
                                             const uint8_t *mask_below, bool accumulate, float *dx, void *workspace,
                                             size_t workspace_bytes);

/* gradient += gradient in the kernel, OHWI float; zero it before the first sample. */
tinytl_status tinytl_conv_kernel_gradient(const tinytl_conv_params *params, const float *x, const float *dy,
                                          float *gradient);

/* The gradient in the kernel, applied at once: it is never stored. kernel->value is OHWI float. The input gradient
 * of this layer reads the old kernel: call it first. */
tinytl_status tinytl_conv_kernel_update(const tinytl_conv_params *params, const float *x, const float *dy,
                                        const tinytl_variable *kernel, const tinytl_optimizer *optimizer);

#ifdef __cplusplus
}
#endif
#endif
