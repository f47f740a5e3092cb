#include "internal/bilinear.h"
#include "internal/quantization.h"

/* What a sum needs of its two quantisations, divided by the output's scale. */
typedef struct sum {
  float a_share, x_share; /* of a's steps, and of x's values */
  int32_t a_zero, y_zero;
} sum;

/* y [channels] = a + the blend of four pixels. */
static void add_pixels(const sum *s, const float *const corner[4], const float share[4], int32_t channels,
                       const int8_t *a, int8_t *y) {
  const float *const w = corner[0], *const e = corner[1], *const sw = corner[2], *const se = corner[3];
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
  const int32_t channels = input->channels, row_elements = input->width * channels;
  for (int32_t n = 0; n < input->batch; ++n, x += input->height * row_elements) {
    for (int32_t i = 0; i < output->height; ++i) {
      const tinytl_internal_blend row = tinytl_internal_blend_of(i, input->height, output->height);
      const float *const low = x + row.low * row_elements, *const high = x + row.high * row_elements;
      for (int32_t j = 0; j < output->width; ++j, a += channels, y += channels) {
        const tinytl_internal_blend column = tinytl_internal_blend_of(j, input->width, output->width);
        const int32_t left = column.low * channels, right = column.high * channels;
        const float *const corner[4] = {low + left, low + right, high + left, high + right};
        const float share[4] = {(1.0f - row.high_share) * (1.0f - column.high_share),
                                (1.0f - row.high_share) * column.high_share,
                                row.high_share * (1.0f - column.high_share), row.high_share * column.high_share};
        add_pixels(&s, corner, share, channels, a, y);
      }
    }
  }
  return TINYTL_OK;
}
