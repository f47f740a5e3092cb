#include "internal/pool.h"
#include "internal/rows.h"

tinytl_status tinytl_max_pool_input_gradient(const tinytl_pool_params *params, const float *dy, const uint8_t *argmax,
                                             const uint8_t *mask_below, bool accumulate, float *dx) {
  if (!params || !dy || !argmax || !dx) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_pool(params)) return TINYTL_ERROR_SHAPE;
  const tinytl_window *const window = &params->window;
  const int32_t channels = params->input.channels, row_elements = params->input.width * channels;
  tinytl_internal_begin_scatter(dx, &params->input, accumulate);
  float *sample = dx;
  for (int32_t n = 0; n < params->input.batch; ++n, sample += params->input.height * row_elements) {
    for (int32_t i = 0; i < params->output.height; ++i) {
      const int32_t row = i * window->stride_height - window->pad_top;
      for (int32_t j = 0; j < params->output.width; ++j) {
        const int32_t column = j * window->stride_width - window->pad_left;
        for (int32_t c = 0; c < channels; ++c) {
          const int32_t tap_row = *argmax / window->width, tap_column = *argmax - tap_row * window->width;
          sample[(row + tap_row) * row_elements + (column + tap_column) * channels + c] += *dy++;
          ++argmax;
        }
      }
    }
  }
  if (mask_below) tinytl_internal_mask_rows(dx, mask_below, tinytl_pixels(&params->input), channels, dx);
  return TINYTL_OK;
}
