#include "internal/check.h"
#include "internal/depthwise.h"

bool tinytl_internal_is_depthwise(const tinytl_depthwise_params *params) {
  return tinytl_internal_fits(&params->input, &params->output, &params->window) &&
         params->input.channels == params->output.channels;
}

/* panel [blocks][taps][8] of `channels` channels; what is beyond the last channel is not read. */
static void pack(const tinytl_window *window, int32_t row_step, int32_t column_step, const int8_t *kernel,
                 const float *scale, int32_t channels, float *panel) {
  for (int32_t block = 0; block < channels; block += TINYTL_DEPTHWISE_BLOCK) {
    const int32_t width = tinytl_internal_min(TINYTL_DEPTHWISE_BLOCK, channels - block);
    for (int32_t row = 0; row < window->height; ++row) {
      const int8_t *tap = kernel + row * row_step + block;
      for (int32_t column = 0; column < window->width; ++column, tap += column_step) {
        for (int32_t j = 0; j < width; ++j) panel[j] = (float)tap[j] * scale[block + j];
        panel += TINYTL_DEPTHWISE_BLOCK;
      }
    }
  }
}

void tinytl_internal_run_depthwise(const tinytl_depthwise_params *params, bool backward, const float *source,
                                   const int8_t *kernel, const float *scale, const float *bias, bool accumulate,
                                   float *destination, void *workspace) {
  static const float zeros[TINYTL_DEPTHWISE_BLOCK * TINYTL_DEPTHWISE_BLOCKS] = {0};
  const int32_t channels = params->input.channels;
  const int32_t row_step = params->window.width * channels;
  int32_t first_row, first_column;
  const tinytl_window window =
      tinytl_internal_crop(&params->window, &params->input, &params->output, &first_row, &first_column);
  const int32_t taps = window.height * window.width;
  tinytl_internal_tap *const tap_list = workspace;
  float *const panel = (float *)(tap_list + taps);
  tinytl_internal_walk walk = tinytl_internal_make_walk(&params->input, &params->output, &window, backward);
  walk.panel_step = TINYTL_DEPTHWISE_BLOCK;
  kernel += first_row * row_step + first_column * channels;
  const int32_t chunk = TINYTL_DEPTHWISE_BLOCK * TINYTL_DEPTHWISE_BLOCKS;
  for (int32_t channel = 0; channel < channels; channel += chunk) {
    const float *const start = bias ? bias + channel : zeros;
    const tinytl_internal_depthwise depthwise = {.source = source + channel,
                                                 .destination = destination + channel,
                                                 .start = accumulate ? NULL : start,
                                                 .panel = panel,
                                                 .panel_block = taps * TINYTL_DEPTHWISE_BLOCK,
                                                 .channels = tinytl_internal_min(chunk, channels - channel)};
    pack(&window, row_step, channels, kernel + channel, scale + channel, depthwise.channels, panel);
    tinytl_internal_walk_runs(&walk, tap_list, tinytl_internal_depthwise_run, &depthwise);
  }
}
