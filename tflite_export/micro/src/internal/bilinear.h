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

/* The four pixels that a pixel of the output blends, [channels] each, and their weights. */
typedef struct tinytl_internal_corners {
  const float *pixel[4];
  float share[4];
} tinytl_internal_corners;

static inline tinytl_internal_corners tinytl_internal_corners_of(const float *x, int32_t width, int32_t channels,
                                                                 const tinytl_internal_blend *row,
                                                                 const tinytl_internal_blend *column) {
  const float *const low = x + row->low * width * channels, *const high = x + row->high * width * channels;
  const int32_t left = column->low * channels, right = column->high * channels;
  const float low_share = 1.0f - row->high_share, left_share = 1.0f - column->high_share;
  const tinytl_internal_corners corners = {
      {low + left, low + right, high + left, high + right},
      {low_share * left_share, low_share * column->high_share, row->high_share * left_share,
       row->high_share * column->high_share}};
  return corners;
}

static inline bool tinytl_internal_is_resize(const tinytl_resize_params *params) {
  return tinytl_internal_is_shape(&params->input) && tinytl_internal_is_shape(&params->output) &&
         params->input.batch == params->output.batch && params->input.channels == params->output.channels;
}

#endif
