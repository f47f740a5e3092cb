#include "internal/check.h"
#include "tinytl/types.h"

static int32_t same(int32_t input, int32_t window, int32_t stride, int32_t *output) {
  *output = (input + stride - 1) / stride;
  const int32_t padding = (*output - 1) * stride + window - input;
  return padding > 0 ? padding / 2 : 0;
}

tinytl_status tinytl_same_padding(const tinytl_shape *input, tinytl_window *window, tinytl_shape *output) {
  if (!input || !window || !output) return TINYTL_ERROR_NULL;
  if (input->height < 1 || input->width < 1 || window->height < 1 || window->width < 1 || window->stride_height < 1 ||
      window->stride_width < 1) {
    return TINYTL_ERROR_SHAPE;
  }
  window->pad_top = same(input->height, window->height, window->stride_height, &output->height);
  window->pad_left = same(input->width, window->width, window->stride_width, &output->width);
  return TINYTL_OK;
}
