/* Kernel gradients: kernel[o, tap, i] gets the sum over output pixels of dy[pixel, o] * x[pixel + tap, i]. Blocks of 4 x 4
 * kernel values stay in registers while all pixels pass; then the block is added to a gradient, or updates the kernel. */
#ifndef TINYTL_INTERNAL_KERNEL_GRADIENT_H
#define TINYTL_INTERNAL_KERNEL_GRADIENT_H

#include "internal/update.h"
#include "tinytl/convolution.h"

/* Where a block goes: to `gradient` where that is not NULL, else through the optimiser into `variable`. */
typedef struct tinytl_internal_sink {
  float *gradient;
  const tinytl_variable *variable;
  const tinytl_optimizer *optimizer;
} tinytl_internal_sink;

tinytl_status tinytl_internal_kernel_gradient(const tinytl_conv_params *params, const float *x, const float *dy,
                                              const tinytl_internal_sink *sink);

#endif
