/* Where one output row or column of a bilinear resize reads. */
#ifndef TINYTL_INTERNAL_BILINEAR_H
#define TINYTL_INTERNAL_BILINEAR_H

#include "internal/check.h"
#include "tinytl/resize.h"

typedef struct tinytl_internal_blend {
  int32_t low, high; /* input indices */
  float high_share;  /* weight of high; that of low is 1 - high_share */
} tinytl_internal_blend;

static inline tinytl_internal_blend tinytl_internal_blend_of(int32_t index, int32_t input, int32_t output) {
  const float last = (float)(input - 1);
  float position = ((float)index + 0.5f) * ((float)input / (float)output) - 0.5f;
  if (position < 0.0f) position = 0.0f;
  if (position > last) position = last;
  const int32_t low = (int32_t)position;
  const tinytl_internal_blend blend = {low, low + 1 < input ? low + 1 : low, position - (float)low};
  return blend;
}

static inline bool tinytl_internal_is_resize(const tinytl_resize_params *params) {
  return tinytl_internal_is_shape(&params->input) && tinytl_internal_is_shape(&params->output) &&
         params->input.batch == params->output.batch && params->input.channels == params->output.channels;
}

#endif
