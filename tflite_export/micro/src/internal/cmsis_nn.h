/* Arm's CMSIS-NN (DSP extension, Helium) for the int8 layers, where the library was compiled with TINYTL_USE_CMSIS_NN and
 * CMSIS-NN's Include folder. Without that, or where CMSIS-NN wants more workspace than there is or declines a layer,
 * the portable code computes the same outputs. */
#ifndef TINYTL_INTERNAL_CMSIS_NN_H
#define TINYTL_INTERNAL_CMSIS_NN_H

#include "tinytl/quantized.h"

#ifdef TINYTL_USE_CMSIS_NN

/* Arguments are checked. bias or mask may be NULL. Whether y and mask were written. */
bool tinytl_internal_cmsis_conv(const tinytl_conv_params *params, const tinytl_requantization *requantization,
                                const int8_t *x, const int8_t *kernel, const int32_t *bias, int8_t *y, uint8_t *mask,
                                void *workspace, size_t workspace_bytes);
bool tinytl_internal_cmsis_depthwise(const tinytl_depthwise_params *params,
                                     const tinytl_requantization *requantization, const int8_t *x,
                                     const int8_t *kernel, const int32_t *bias, int8_t *y, uint8_t *mask,
                                     void *workspace, size_t workspace_bytes);

/* What CMSIS-NN wants. */
size_t tinytl_internal_cmsis_conv_bytes(const tinytl_conv_params *params);
size_t tinytl_internal_cmsis_depthwise_bytes(const tinytl_depthwise_params *params);

#else

#define tinytl_internal_cmsis_conv(params, requantization, x, kernel, bias, y, mask, workspace, bytes) false
#define tinytl_internal_cmsis_depthwise(params, requantization, x, kernel, bias, y, mask, workspace, bytes) false
#define tinytl_internal_cmsis_conv_bytes(params) ((size_t)0)
#define tinytl_internal_cmsis_depthwise_bytes(params) ((size_t)0)

#endif
#endif
