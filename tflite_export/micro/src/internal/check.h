/* The checks that open every public function. */
#ifndef TINYTL_INTERNAL_CHECK_H
#define TINYTL_INTERNAL_CHECK_H

#include "tinytl/types.h"

static inline bool tinytl_internal_is_shape(const tinytl_shape *shape) {
  return shape->batch >= 1 && shape->height >= 1 && shape->width >= 1 && shape->channels >= 1;
}

static inline bool tinytl_internal_is_activation(tinytl_activation activation) {
  return activation == TINYTL_ACTIVATION_NONE || activation == TINYTL_ACTIVATION_RELU ||
         activation == TINYTL_ACTIVATION_RELU6;
}

/* Shapes are shapes, batches agree, the window is legal and its last position starts inside the input. */
static inline bool tinytl_internal_fits(const tinytl_shape *input, const tinytl_shape *output,
                                        const tinytl_window *window) {
  return tinytl_internal_is_shape(input) && tinytl_internal_is_shape(output) && input->batch == output->batch &&
         window->height >= 1 && window->width >= 1 && window->stride_height >= 1 && window->stride_width >= 1 &&
         window->pad_top >= 0 && window->pad_top < window->height && window->pad_left >= 0 &&
         window->pad_left < window->width &&
         (int64_t)(output->height - 1) * window->stride_height - window->pad_top < input->height &&
         (int64_t)(output->width - 1) * window->stride_width - window->pad_left < input->width;
}

#endif
