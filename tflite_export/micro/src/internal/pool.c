#include "internal/pool.h"

#include <string.h>

#include "internal/check.h"

bool tinytl_internal_is_pool(const tinytl_pool_params *params) {
  /* The first window reaches row `height - pad_top - 1`, which `pad_top < height` keeps inside. */
  return tinytl_internal_fits(&params->input, &params->output, &params->window) &&
         params->input.channels == params->output.channels;
}

tinytl_internal_axis tinytl_internal_pool_rows(const tinytl_pool_params *params) {
  return tinytl_internal_forward_axis(params->window.height, params->window.stride_height, params->window.pad_top,
                                      params->input.height, params->output.height);
}

tinytl_internal_axis tinytl_internal_pool_columns(const tinytl_pool_params *params) {
  return tinytl_internal_forward_axis(params->window.width, params->window.stride_width, params->window.pad_left,
                                      params->input.width, params->output.width);
}

void tinytl_internal_begin_scatter(float *dx, const tinytl_shape *shape, bool accumulate) {
  if (!accumulate) memset(dx, 0, (size_t)tinytl_pixels(shape) * (size_t)shape->channels * sizeof *dx);
}
