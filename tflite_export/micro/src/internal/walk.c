#include "internal/walk.h"

static int32_t list_taps(const tinytl_internal_walk *walk, const tinytl_internal_reach *row,
                         const tinytl_internal_reach *column, int32_t sample, tinytl_internal_tap *taps) {
  const int32_t row_elements = walk->columns.source * walk->source_channels;
  const int32_t source_step = walk->columns.source_step * walk->source_channels;
  const int32_t panel_step = walk->columns.tap_step * walk->panel_step;
  tinytl_internal_tap *tap = taps;
  for (int32_t i = 0; i < row->count; ++i) {
    const int32_t source_row = sample + (row->source + i * walk->rows.source_step) * row_elements;
    const int32_t tap_row = (row->tap + i * walk->rows.tap_step) * walk->columns.taps;
    int32_t source = source_row + column->source * walk->source_channels;
    int32_t panel = (tap_row + column->tap) * walk->panel_step;
    for (int32_t j = 0; j < column->count; ++j) {
      tap->source = source;
      tap->panel = panel;
      ++tap;
      source += source_step;
      panel += panel_step;
    }
  }
  return row->count * column->count;
}

static void walk_row(const tinytl_internal_walk *walk, int32_t sample, int32_t destination_row,
                     const tinytl_internal_reach *row, tinytl_internal_tap *taps, tinytl_internal_visit visit,
                     const void *context) {
  const tinytl_internal_axis *columns = &walk->columns;
  tinytl_internal_run run = {.taps = taps,
                             .destination_step = columns->phase_step * walk->destination_channels,
                             .source_step = columns->phase_source_step * walk->source_channels};
  for (int32_t phase = 0; phase < columns->phases; ++phase) {
    for (int32_t x = phase; x < columns->destination; x += run.count * columns->phase_step) {
      const tinytl_internal_reach column = tinytl_internal_reach_of(columns, x);
      run.count = tinytl_internal_run_of(columns, x, &column);
      run.tap_count = list_taps(walk, row, &column, sample, taps);
      run.destination = destination_row + x * walk->destination_channels;
      visit(context, &run);
    }
  }
}

void tinytl_internal_walk_runs(const tinytl_internal_walk *walk, tinytl_internal_tap *taps,
                               tinytl_internal_visit visit, const void *context) {
  const int32_t source_sample = walk->rows.source * walk->columns.source * walk->source_channels;
  const int32_t row_elements = walk->columns.destination * walk->destination_channels;
  int32_t sample = 0, destination_row = 0;
  for (int32_t n = 0; n < walk->batch; ++n) {
    for (int32_t y = 0; y < walk->rows.destination; ++y) {
      const tinytl_internal_reach row = tinytl_internal_reach_of(&walk->rows, y);
      walk_row(walk, sample, destination_row, &row, taps, visit, context);
      destination_row += row_elements;
    }
    sample += source_sample;
  }
}

tinytl_internal_walk tinytl_internal_make_walk(const tinytl_shape *input, const tinytl_shape *output,
                                               const tinytl_window *window, bool backward) {
  tinytl_internal_axis (*const axis)(int32_t, int32_t, int32_t, int32_t, int32_t) =
      backward ? tinytl_internal_backward_axis : tinytl_internal_forward_axis;
  const tinytl_internal_walk walk = {
      .rows = axis(window->height, window->stride_height, window->pad_top, input->height, output->height),
      .columns = axis(window->width, window->stride_width, window->pad_left, input->width, output->width),
      .batch = input->batch,
      .source_channels = backward ? output->channels : input->channels,
      .destination_channels = backward ? input->channels : output->channels};
  return walk;
}
