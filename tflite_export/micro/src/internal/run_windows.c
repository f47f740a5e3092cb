#include "internal/gemm.h"

/* How many source channels of a group go into one panel. */
static int32_t panel_depth(int32_t taps, int32_t channels) {
  return tinytl_internal_min(channels, tinytl_internal_max(1, TINYTL_PANEL_ROWS / taps));
}

size_t tinytl_internal_windows_workspace_bytes(const tinytl_window *window, int32_t source_channels) {
  const int32_t taps = window->height * window->width;
  const int32_t rows = tinytl_internal_min(taps * source_channels, tinytl_internal_max(taps, TINYTL_PANEL_ROWS));
  return (size_t)taps * sizeof(tinytl_internal_tap) + (size_t)rows * TINYTL_PANEL_WIDTH * sizeof(float);
}

/* Element `index` of a kernel of either type. */
static const void *at(const tinytl_internal_windows_job *job, int32_t index) {
  return job->scale ? (const void *)((const int8_t *)job->kernel + index)
                    : (const void *)((const float *)job->kernel + index);
}

void tinytl_internal_run_windows(const tinytl_internal_windows_job *job) {
  int32_t first_row, first_column;
  const tinytl_window window =
      tinytl_internal_crop(job->window, job->input, job->output, &first_row, &first_column);
  const int32_t taps = window.height * window.width;
  const int32_t input_group = job->input->channels / job->groups, output_group = job->output->channels / job->groups;
  const int32_t source_group = job->backward ? output_group : input_group;
  const int32_t destination_group = job->backward ? input_group : output_group;
  const int32_t chunk = panel_depth(taps, source_group);
  const int32_t output_step = job->window->height * job->window->width * input_group;
  const int32_t first_tap = (first_row * job->window->width + first_column) * input_group;
  tinytl_internal_tap *const tap_list = job->workspace;
  float *const panel = (float *)(tap_list + taps);
  tinytl_internal_walk walk = tinytl_internal_make_walk(job->input, job->output, &window, job->backward);
  tinytl_internal_pack pack = {.rows = window.height,
                               .columns = window.width,
                               .row_step = job->window->width * input_group,
                               .column_step = input_group,
                               .depth_step = job->backward ? output_step : 1,
                               .width_step = job->backward ? 1 : output_step,
                               .backward = job->backward};
  for (int32_t group = 0; group < job->groups; ++group) {
    for (int32_t block = 0; block < destination_group; block += TINYTL_PANEL_WIDTH) {
      const int32_t destination = group * destination_group + block;
      const int32_t width = tinytl_internal_min(TINYTL_PANEL_WIDTH, destination_group - block);
      float start[TINYTL_PANEL_WIDTH] = {0};
      if (job->bias) {
        for (int32_t j = 0; j < width; ++j) start[j] = job->bias[destination + j];
      }
      for (int32_t channel = 0; channel < source_group; channel += chunk) {
        const int32_t output = group * output_group + (job->backward ? channel : block);
        const int32_t input = job->backward ? block : channel;
        const tinytl_internal_gemm gemm = {.source = job->source + group * source_group + channel,
                                           .destination = job->destination + destination,
                                           .start = channel || job->accumulate ? NULL : start,
                                           .panel = panel,
                                           .depth = tinytl_internal_min(chunk, source_group - channel),
                                           .width = width};
        pack.depth = gemm.depth;
        pack.width = width;
        walk.panel_step = gemm.depth * TINYTL_PANEL_WIDTH;
        tinytl_internal_pack_panel(&pack, at(job, output * output_step + first_tap + input),
                                   job->scale ? job->scale + output : NULL, panel);
        tinytl_internal_walk_runs(&walk, tap_list, tinytl_internal_gemm_run, &gemm);
      }
    }
  }
}
