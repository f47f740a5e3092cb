#include "internal/pool.h"
#include "tinytl/quantized.h"

static int8_t mean_of(const int8_t *x, int32_t rows, int32_t columns, int32_t row_elements, int32_t channels) {
  int32_t sum = 0;
  for (int32_t i = 0; i < rows; ++i, x += row_elements) {
    const int8_t *pixel = x;
    for (int32_t j = 0; j < columns; ++j, pixel += channels) sum += *pixel;
  }
  const int32_t count = rows * columns;
  return (int8_t)((sum + (sum < 0 ? -count / 2 : count / 2)) / count);
}

tinytl_status tinytl_average_pool_forward_s8(const tinytl_pool_params *params, const int8_t *x, int8_t *y) {
  if (!params || !x || !y) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_pool(params)) return TINYTL_ERROR_SHAPE;
  const tinytl_internal_axis rows = tinytl_internal_pool_rows(params), columns = tinytl_internal_pool_columns(params);
  const int32_t channels = params->input.channels, row_elements = params->input.width * channels;
  for (int32_t n = 0; n < params->input.batch; ++n, x += params->input.height * row_elements) {
    for (int32_t i = 0; i < params->output.height; ++i) {
      const tinytl_internal_reach row = tinytl_internal_reach_of(&rows, i);
      for (int32_t j = 0; j < params->output.width; ++j) {
        const tinytl_internal_reach column = tinytl_internal_reach_of(&columns, j);
        const int8_t *const corner = x + row.source * row_elements + column.source * channels;
        for (int32_t c = 0; c < channels; ++c) {
          *y++ = mean_of(corner + c, row.count, column.count, row_elements, channels);
        }
      }
    }
  }
  return TINYTL_OK;
}
