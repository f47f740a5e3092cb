#include "internal/bilinear.h"

/* y [channels] = the blend of four pixels. */
static void blend_pixels(const tinytl_internal_corners *corners, int32_t channels, bool accumulate, float *y) {
  const float *const a = corners->pixel[0], *const b = corners->pixel[1];
  const float *const c = corners->pixel[2], *const d = corners->pixel[3];
  const float *const share = corners->share;
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
  const int32_t channels = input->channels;
  for (int32_t n = 0; n < input->batch; ++n, x += input->height * input->width * channels) {
    for (int32_t i = 0; i < output->height; ++i) {
      const tinytl_internal_blend row = tinytl_internal_blend_of(i, input->height, output->height);
      for (int32_t j = 0; j < output->width; ++j, y += channels) {
        const tinytl_internal_blend column = tinytl_internal_blend_of(j, input->width, output->width);
        const tinytl_internal_corners corners =
            tinytl_internal_corners_of(x, input->width, channels, &row, &column);
        blend_pixels(&corners, channels, accumulate, y);
      }
    }
  }
  return TINYTL_OK;
}
