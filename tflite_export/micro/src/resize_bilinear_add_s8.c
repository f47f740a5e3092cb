#include "internal/bilinear.h"
#include "internal/quantization.h"

/* What a sum needs of its two quantisations, divided by the output's scale. */
typedef struct sum {
  float a_share, x_share; /* of a's steps, and of x's values */
  int32_t a_zero, y_zero;
} sum;

/* y [channels] = a + the blend of four pixels. */
static void add_pixels(const sum *s, const tinytl_internal_corners *corners, int32_t channels, const int8_t *a,
                       int8_t *y) {
  const float *const w = corners->pixel[0], *const e = corners->pixel[1];
  const float *const sw = corners->pixel[2], *const se = corners->pixel[3];
  const float *const share = corners->share;
  for (int32_t i = 0; i < channels; ++i) {
    const float blend = share[0] * w[i] + share[1] * e[i] + share[2] * sw[i] + share[3] * se[i];
    const float value = (float)(a[i] - s->a_zero) * s->a_share + blend * s->x_share;
    y[i] = (int8_t)tinytl_internal_clamp(tinytl_internal_round(value, 1024.0f) + s->y_zero, -128, 127);
  }
}

tinytl_status tinytl_resize_bilinear_add_s8(const tinytl_resize_params *params, const float *x, const int8_t *a,
                                            const tinytl_quantization *a_quantization,
                                            const tinytl_quantization *y_quantization, int8_t *y) {
  if (!params || !x || !a || !a_quantization || !y_quantization || !y) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_resize(params)) return TINYTL_ERROR_SHAPE;
  if (!tinytl_internal_is_quantization(a_quantization) || !tinytl_internal_is_quantization(y_quantization)) {
    return TINYTL_ERROR_ARGUMENT;
  }
  const sum s = {.a_share = a_quantization->scale / y_quantization->scale,
                 .x_share = 1.0f / y_quantization->scale,
                 .a_zero = a_quantization->zero_point,
                 .y_zero = y_quantization->zero_point};
  const tinytl_shape *const input = &params->input, *const output = &params->output;
  const int32_t channels = input->channels;
  for (int32_t n = 0; n < input->batch; ++n, x += input->height * input->width * channels) {
    for (int32_t i = 0; i < output->height; ++i) {
      const tinytl_internal_blend row = tinytl_internal_blend_of(i, input->height, output->height);
      for (int32_t j = 0; j < output->width; ++j, a += channels, y += channels) {
        const tinytl_internal_blend column = tinytl_internal_blend_of(j, input->width, output->width);
        const tinytl_internal_corners corners =
            tinytl_internal_corners_of(x, input->width, channels, &row, &column);
        add_pixels(&s, &corners, channels, a, y);
      }
    }
  }
  return TINYTL_OK;
}
