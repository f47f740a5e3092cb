#include "internal/bilinear.h"

/* y [channels] = the blend of four pixels. */
static void blend_pixels(const float *const corner[4], const float share[4], int32_t channels, bool accumulate,
                         float *y) {
  const float *const a = corner[0], *const b = corner[1], *const c = corner[2], *const d = corner[3];
  for (int32_t i = 0; i < channels; ++i) {
    const float value = share[0] * a[i] + share[1] * b[i] + share[2] * c[i] + share[3] * d[i];
    y[i] = accumulate ? y[i] + value : value;
  }
}

tinytl_status tinytl_resize_bilinear_forward(const tinytl_resize_params *params, const float *x, bool accumulate,
                                             float *y) {
  if (!params || !x || !y) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_resize(params)) return TINYTL_ERROR_SHAPE;
  const tinytl_shape *const input = &params->input, *const output = &params->output;
  const int32_t channels = input->channels, row_elements = input->width * channels;
  for (int32_t n = 0; n < input->batch; ++n, x += input->height * row_elements) {
    for (int32_t i = 0; i < output->height; ++i) {
      const tinytl_internal_blend row = tinytl_internal_blend_of(i, input->height, output->height);
      const float *const low = x + row.low * row_elements, *const high = x + row.high * row_elements;
      for (int32_t j = 0; j < output->width; ++j, y += channels) {
        const tinytl_internal_blend column = tinytl_internal_blend_of(j, input->width, output->width);
        const int32_t left = column.low * channels, right = column.high * channels;
        const float *const corner[4] = {low + left, low + right, high + left, high + right};
        const float share[4] = {(1.0f - row.high_share) * (1.0f - column.high_share),
                                (1.0f - row.high_share) * column.high_share,
                                row.high_share * (1.0f - column.high_share), row.high_share * column.high_share};
        blend_pixels(corner, share, channels, accumulate, y);
      }
    }
  }
  return TINYTL_OK;
}
