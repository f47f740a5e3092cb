/* int8 activations, forward only, for layers whose kernels are frozen: a quarter of the activation memory.
 *
 * value = scale * (q - zero_point), one scale and zero point a tensor, zero_point in [-128, 127], found by calibration.
 * Kernels are int8 without zero point, one scale an output channel, in the float functions' layouts. Sums are int32;
 * with the bias, and shifted left where shift > 0, they must stay below 2^30 in magnitude (33,000 products always do).
 * Requantisation is TFLite's and CMSIS-NN's: saturating rounding doubling high multiply, then a rounding shift, by
 * multiplier[c] in [2^30, 2^31) and shift[c] in [-31, 30] with multiplier * 2^(shift - 31) = input scale * kernel
 * scale[c] / output scale.
 * Gradients pass straight through the rounding: the float functions' input gradients take the same kernel, with its
 * float scale, and the mask that is written here. A mask bit is 1 where activation_min < output < activation_max.
 */
#ifndef TINYTL_QUANTIZED_H
#define TINYTL_QUANTIZED_H

#include "tinytl/convolution.h"
#include "tinytl/depthwise.h"
#include "tinytl/pointwise.h"
#include "tinytl/pooling.h"
#include "tinytl/resize.h"
#include "tinytl/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tinytl_quantization {
  float scale; /* > 0 */
  int32_t zero_point;
} tinytl_quantization;

/* How a layer's int32 sums become its int8 output. multiplier and shift have one entry an output channel. */
typedef struct tinytl_requantization {
  const int32_t *multiplier;
  const int32_t *shift;
  int32_t input_zero_point;
  int32_t output_zero_point;
  int32_t activation_min; /* -128 <= min <= max <= 127; ReLU: the output's zero point */
  int32_t activation_max; /* ReLU6: zero point + round(6 / output scale), at most 127 */
} tinytl_requantization;

/* q = clamp(round_half_away(x / scale) + zero_point). */
tinytl_status tinytl_quantize(const float *x, int32_t count, const tinytl_quantization *quantization, int8_t *q);
tinytl_status tinytl_dequantize(const int8_t *q, int32_t count, const tinytl_quantization *quantization, float *x);

/* multiplier and shift of one positive factor below 2^30. */
tinytl_status tinytl_quantize_multiplier(double factor, int32_t *multiplier, int32_t *shift);

/* The min and max of an activation on an output of this quantisation. */
tinytl_status tinytl_activation_range(tinytl_activation activation, const tinytl_quantization *output, int32_t *minimum,
                                      int32_t *maximum);

/* quantized[c] = round(bias[c] / (input_scale * kernel_scale[c])), at most 2^29 in magnitude: call it in every step for a
 * trained bias. input_scale > 0. */
tinytl_status tinytl_quantize_bias(const float *bias, const float *kernel_scale, float input_scale, int32_t channels,
                                   int32_t *quantized);

/* The workspace with which a layer runs fastest: room for the widened kernels of four output channels, or, where the
 * library was compiled with TINYTL_USE_CMSIS_NN, what CMSIS-NN asks for. */
size_t tinytl_conv_workspace_bytes_s8(const tinytl_conv_params *params);
size_t tinytl_pointwise_workspace_bytes_s8(const tinytl_pointwise_params *params);
size_t tinytl_depthwise_workspace_bytes_s8(const tinytl_depthwise_params *params);

/* As the float functions of the same name, int8 in and out; params->activation is ignored, the range counts.
 * bias int32[output channels] or NULL. mask or NULL. workspace: at least the bytes of the float function's helper; with
 * those of the ..._s8 helper, which are never fewer, it runs fastest. */
tinytl_status tinytl_conv_forward_s8(const tinytl_conv_params *params, const tinytl_requantization *requantization,
                                     const int8_t *x, const int8_t *kernel, const int32_t *bias, int8_t *y,
                                     uint8_t *mask, void *workspace, size_t workspace_bytes);

tinytl_status tinytl_pointwise_forward_s8(const tinytl_pointwise_params *params,
                                          const tinytl_requantization *requantization, const int8_t *x,
                                          const int8_t *kernel, const int32_t *bias, int8_t *y, uint8_t *mask,
                                          void *workspace, size_t workspace_bytes);

tinytl_status tinytl_depthwise_forward_s8(const tinytl_depthwise_params *params,
                                          const tinytl_requantization *requantization, const int8_t *x,
                                          const int8_t *kernel, const int32_t *bias, int8_t *y, uint8_t *mask,
                                          void *workspace, size_t workspace_bytes);

/* y = clamp(a + b) requantised; [pixels, channels]. In place: y may be a or b. */
tinytl_status tinytl_add_s8(const int8_t *a, const tinytl_quantization *a_quantization, const int8_t *b,
                            const tinytl_quantization *b_quantization, int32_t pixels, int32_t channels,
                            const tinytl_quantization *y_quantization, int32_t activation_min, int32_t activation_max,
                            int8_t *y, uint8_t *mask);

/* y = clamp(x), of one quantisation. In place: y may be x. */
tinytl_status tinytl_activate_s8(const int8_t *x, int32_t pixels, int32_t channels, int32_t activation_min,
                                 int32_t activation_max, int8_t *y, uint8_t *mask);

/* y = a + x, where x float is resized to a's size on the way, as tinytl_resize_bilinear_forward does it: the end of a
 * float branch beside an int8 main path. a and y [output]. In place: y may be a. */
tinytl_status tinytl_resize_bilinear_add_s8(const tinytl_resize_params *params, const float *x, const int8_t *a,
                                            const tinytl_quantization *a_quantization,
                                            const tinytl_quantization *y_quantization, int8_t *y);

/* As tinytl_max_pool_forward; input and output share one quantisation. */
tinytl_status tinytl_max_pool_forward_s8(const tinytl_pool_params *params, const int8_t *x, int8_t *y,
                                         uint8_t *argmax);

/* Input and output share one quantisation; the mean is rounded half away from zero. */
tinytl_status tinytl_average_pool_forward_s8(const tinytl_pool_params *params, const int8_t *x, int8_t *y);

/* y float[batch, channels] = mean over height and width: where the int8 part of a network usually ends. */
tinytl_status tinytl_global_average_forward_s8(const tinytl_shape *shape, const tinytl_quantization *quantization,
                                               const int8_t *x, float *y);

#ifdef __cplusplus
}
#endif
#endif
