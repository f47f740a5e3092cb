#include "internal/pool.h"
#include "internal/rows.h"

/* Adds an equal share of dy [channels] to every pixel of a rectangle. */
static void share_out(const float *dy, int32_t rows, int32_t columns, int32_t row_elements, int32_t channels,
                      float *dx) {
  const float share = 1.0f / (float)(rows * columns);
  for (int32_t c = 0; c < channels; ++c) {
    const float value = dy[c] * share;
    float *row = dx + c;
    for (int32_t i = 0; i < rows; ++i, row += row_elements) {
      float *pixel = row;
      for (int32_t j = 0; j < columns; ++j, pixel += channels) *pixel += value;
    }
  }
}

tinytl_status tinytl_average_pool_input_gradient(const tinytl_pool_params *params, const float *dy,
                                                 const uint8_t *mask_below, bool accumulate, float *dx) {
  if (!params || !dy || !dx) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_pool(params)) return TINYTL_ERROR_SHAPE;
  const tinytl_internal_axis rows = tinytl_internal_pool_rows(params), columns = tinytl_internal_pool_columns(params);
  const int32_t channels = params->input.channels, row_elements = params->input.width * channels;
  tinytl_internal_begin_scatter(dx, &params->input, accumulate);
  float *sample = dx;
  for (int32_t n = 0; n < params->input.batch; ++n, sample += params->input.height * row_elements) {
    for (int32_t i = 0; i < params->output.height; ++i) {
      const tinytl_internal_reach row = tinytl_internal_reach_of(&rows, i);
      for (int32_t j = 0; j < params->output.width; ++j, dy += channels) {
        const tinytl_internal_reach column = tinytl_internal_reach_of(&columns, j);
        share_out(dy, row.count, column.count, row_elements, channels,
                  sample + row.source * row_elements + column.source * channels);
      }
    }
  }
  if (mask_below) tinytl_internal_mask_rows(dx, mask_below, tinytl_pixels(&params->input), channels, dx);
  return TINYTL_OK;
}
