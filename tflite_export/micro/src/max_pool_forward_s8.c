#include "internal/pool.h"
#include "tinytl/quantized.h"

#define MOST_TAPS 256

/* The maximum of channel 0 of a rectangle of pixels, and which tap it is. */
static int8_t largest(const int8_t *x, const tinytl_internal_reach *row, const tinytl_internal_reach *column,
                      int32_t row_elements, int32_t channels, int32_t window_width, int32_t *tap) {
  int8_t best = *x;
  *tap = row->tap * window_width + column->tap;
  for (int32_t i = 0; i < row->count; ++i, x += row_elements) {
    const int8_t *pixel = x;
    for (int32_t j = 0; j < column->count; ++j, pixel += channels) {
      if (*pixel > best) {
        best = *pixel;
        *tap = (row->tap + i) * window_width + column->tap + j;
      }
    }
  }
  return best;
}

tinytl_status tinytl_max_pool_forward_s8(const tinytl_pool_params *params, const int8_t *x, int8_t *y,
                                         uint8_t *argmax) {
  if (!params || !x || !y) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_pool(params)) return TINYTL_ERROR_SHAPE;
  if ((int64_t)params->window.height * params->window.width > MOST_TAPS) return TINYTL_ERROR_SHAPE;
  const tinytl_internal_axis rows = tinytl_internal_pool_rows(params), columns = tinytl_internal_pool_columns(params);
  const int32_t channels = params->input.channels, row_elements = params->input.width * channels;
  for (int32_t n = 0; n < params->input.batch; ++n, x += params->input.height * row_elements) {
    for (int32_t i = 0; i < params->output.height; ++i) {
      const tinytl_internal_reach row = tinytl_internal_reach_of(&rows, i);
      for (int32_t j = 0; j < params->output.width; ++j) {
        const tinytl_internal_reach column = tinytl_internal_reach_of(&columns, j);
        const int8_t *corner = x + row.source * row_elements + column.source * channels;
        for (int32_t c = 0; c < channels; ++c) {
          int32_t tap;
          *y++ = largest(corner + c, &row, &column, row_elements, channels, params->window.width, &tap);
          if (argmax) *argmax++ = (uint8_t)tap;
        }
      }
    }
  }
  return TINYTL_OK;
}
