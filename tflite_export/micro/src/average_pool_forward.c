#include "internal/pool.h"

/* y [channels] = the mean of a rectangle of pixels; row_elements from one of its rows to the next. */
static void mean_of(const float *x, int32_t rows, int32_t columns, int32_t row_elements, int32_t channels, float *y) {
  const float share = 1.0f / (float)(rows * columns);
  for (int32_t c = 0; c < channels; ++c) {
    const float *row = x + c;
    float sum = 0.0f;
    for (int32_t i = 0; i < rows; ++i, row += row_elements) {
      const float *pixel = row;
      for (int32_t j = 0; j < columns; ++j, pixel += channels) sum += *pixel;
    }
    y[c] = sum * share;
  }
}

tinytl_status tinytl_average_pool_forward(const tinytl_pool_params *params, const float *x, float *y) {
  if (!params || !x || !y) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_pool(params)) return TINYTL_ERROR_SHAPE;
  const tinytl_internal_axis rows = tinytl_internal_pool_rows(params), columns = tinytl_internal_pool_columns(params);
  const int32_t channels = params->input.channels, row_elements = params->input.width * channels;
  for (int32_t n = 0; n < params->input.batch; ++n, x += params->input.height * row_elements) {
    for (int32_t i = 0; i < params->output.height; ++i) {
      const tinytl_internal_reach row = tinytl_internal_reach_of(&rows, i);
      for (int32_t j = 0; j < params->output.width; ++j, y += channels) {
        const tinytl_internal_reach column = tinytl_internal_reach_of(&columns, j);
        mean_of(x + row.source * row_elements + column.source * channels, row.count, column.count, row_elements,
                channels, y);
      }
    }
  }
  return TINYTL_OK;
}
