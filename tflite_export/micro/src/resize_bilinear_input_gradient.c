#include <string.h>

#include "internal/bilinear.h"

/* Corners may coincide at the border, so each takes its share in turn. */
static void add_share(const float *dy, float share, int32_t channels, float *dx) {
  if (share == 0.0f) return;
  for (int32_t i = 0; i < channels; ++i) dx[i] += share * dy[i];
}

tinytl_status tinytl_resize_bilinear_input_gradient(const tinytl_resize_params *params, const float *dy,
                                                    bool accumulate, float *dx) {
  if (!params || !dy || !dx) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_resize(params)) return TINYTL_ERROR_SHAPE;
  const tinytl_shape *const input = &params->input, *const output = &params->output;
  const int32_t channels = input->channels, row_elements = input->width * channels;
  if (!accumulate) memset(dx, 0, (size_t)tinytl_pixels(input) * (size_t)channels * sizeof *dx);
  for (int32_t n = 0; n < input->batch; ++n, dx += input->height * row_elements) {
    for (int32_t i = 0; i < output->height; ++i) {
      const tinytl_internal_blend row = tinytl_internal_blend_of(i, input->height, output->height);
      float *const low = dx + row.low * row_elements, *const high = dx + row.high * row_elements;
      const float low_share = 1.0f - row.high_share;
      for (int32_t j = 0; j < output->width; ++j, dy += channels) {
        const tinytl_internal_blend column = tinytl_internal_blend_of(j, input->width, output->width);
        const int32_t left = column.low * channels, right = column.high * channels;
        add_share(dy, low_share * (1.0f - column.high_share), channels, low + left);
        add_share(dy, low_share * column.high_share, channels, low + right);
        add_share(dy, row.high_share * (1.0f - column.high_share), channels, high + left);
        add_share(dy, row.high_share * column.high_share, channels, high + right);
      }
    }
  }
  return TINYTL_OK;
}
