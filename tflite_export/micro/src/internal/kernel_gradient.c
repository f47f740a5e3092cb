#include "internal/kernel_gradient.h"

#include "internal/arithmetic.h"
#include "internal/convolve.h"

#define BLOCK 4

/* The output pixels along one axis for which a tap reads inside the input: [first, last). */
typedef struct range {
  int32_t first, last;
} range;

static range pixels_of(int32_t tap, int32_t stride, int32_t pad, int32_t input, int32_t output) {
  const int32_t offset = tap - pad;
  const int32_t first = offset < 0 ? (-offset + stride - 1) / stride : 0;
  const int32_t inside = input - offset;
  const int32_t last = inside > 0 ? tinytl_internal_min(output, (inside + stride - 1) / stride) : 0;
  const range pixels = {first, last};
  return pixels;
}

/* One tap's rectangle of output pixels, as steps through x and dy. */
typedef struct rectangle {
  int32_t batch, rows, columns;
  ptrdiff_t x_first, x_column, x_row, x_sample;
  ptrdiff_t dy_first, dy_column, dy_row, dy_sample;
} rectangle;

static rectangle rectangle_of(const tinytl_conv_params *params, int32_t tap_row, int32_t tap_column) {
  const tinytl_shape *const input = &params->input, *const output = &params->output;
  const tinytl_window *const window = &params->window;
  const range rows = pixels_of(tap_row, window->stride_height, window->pad_top, input->height, output->height);
  const range columns = pixels_of(tap_column, window->stride_width, window->pad_left, input->width, output->width);
  const int32_t x_row = rows.first * window->stride_height - window->pad_top + tap_row;
  const int32_t x_column = columns.first * window->stride_width - window->pad_left + tap_column;
  const rectangle pixels = {
      .batch = input->batch,
      .rows = tinytl_internal_max(0, rows.last - rows.first),
      .columns = tinytl_internal_max(0, columns.last - columns.first),
      .x_first = (ptrdiff_t)(x_row * input->width + x_column) * input->channels,
      .x_column = (ptrdiff_t)window->stride_width * input->channels,
      .x_row = (ptrdiff_t)window->stride_height * input->width * input->channels,
      .x_sample = (ptrdiff_t)input->height * input->width * input->channels,
      .dy_first = (ptrdiff_t)(rows.first * output->width + columns.first) * output->channels,
      .dy_column = output->channels,
      .dy_row = (ptrdiff_t)output->width * output->channels,
      .dy_sample = (ptrdiff_t)output->height * output->width * output->channels};
  return pixels;
}

#define EACH4(DO, o) DO(o, 0) DO(o, 1) DO(o, 2) DO(o, 3)
#define EACH16(DO) EACH4(DO, 0) EACH4(DO, 1) EACH4(DO, 2) EACH4(DO, 3)

/* sums[o][i] over the rectangle. What lies beyond the valid channels is read from the last valid one and not used. */
static void sum_block(const rectangle *pixels, const float *x, const float *dy, int32_t inputs, int32_t outputs,
                      float sums[BLOCK][BLOCK]) {
  const int32_t i1 = tinytl_internal_min(1, inputs - 1), i2 = tinytl_internal_min(2, inputs - 1),
                i3 = tinytl_internal_min(3, inputs - 1);
  const int32_t o1 = tinytl_internal_min(1, outputs - 1), o2 = tinytl_internal_min(2, outputs - 1),
                o3 = tinytl_internal_min(3, outputs - 1);
#define BEGIN(o, i) float s##o##i = 0.0f;
#define STEP(o, i) s##o##i = TINYTL_MULTIPLY_ADD(s##o##i, d##o, x##i);
#define END(o, i) sums[o][i] = s##o##i;
  EACH16(BEGIN)
  for (int32_t n = 0; n < pixels->batch; ++n) {
    const float *x_row = x + pixels->x_first + n * pixels->x_sample;
    const float *dy_row = dy + pixels->dy_first + n * pixels->dy_sample;
    for (int32_t row = 0; row < pixels->rows; ++row) {
      const float *x_pixel = x_row, *dy_pixel = dy_row;
      for (int32_t column = pixels->columns; column > 0; --column) {
        const float x0 = x_pixel[0], x1 = x_pixel[i1], x2 = x_pixel[i2], x3 = x_pixel[i3];
        const float d0 = dy_pixel[0], d1 = dy_pixel[o1], d2 = dy_pixel[o2], d3 = dy_pixel[o3];
        EACH16(STEP)
        x_pixel += pixels->x_column;
        dy_pixel += pixels->dy_column;
      }
      x_row += pixels->x_row;
      dy_row += pixels->dy_row;
    }
  }
  EACH16(END)
}

static void deliver(const tinytl_internal_sink *sink, int32_t index, const float *sums, int32_t count) {
  if (sink->gradient) {
    for (int32_t i = 0; i < count; ++i) sink->gradient[index + i] += sums[i];
  } else {
    tinytl_internal_update(sink->optimizer, sink->variable, index, sums, count);
  }
}

tinytl_status tinytl_internal_kernel_gradient(const tinytl_conv_params *params, const float *x, const float *dy,
                                              const tinytl_internal_sink *sink) {
  if (!params || !x || !dy) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_conv(params)) return TINYTL_ERROR_SHAPE;
  const int32_t input_group = params->input.channels / params->groups;
  const int32_t output_group = params->output.channels / params->groups;
  const int32_t taps = params->window.height * params->window.width;
  for (int32_t row = 0; row < params->window.height; ++row) {
    for (int32_t column = 0; column < params->window.width; ++column) {
      const rectangle pixels = rectangle_of(params, row, column);
      const int32_t tap = row * params->window.width + column;
      for (int32_t group = 0; group < params->groups; ++group) {
        for (int32_t output = 0; output < output_group; output += BLOCK) {
          const int32_t outputs = tinytl_internal_min(BLOCK, output_group - output);
          const int32_t first_output = group * output_group + output;
          for (int32_t input = 0; input < input_group; input += BLOCK) {
            const int32_t inputs = tinytl_internal_min(BLOCK, input_group - input);
            float sums[BLOCK][BLOCK];
            sum_block(&pixels, x + group * input_group + input, dy + first_output, inputs, outputs, sums);
            for (int32_t o = 0; o < outputs; ++o) {
              deliver(sink, ((first_output + o) * taps + tap) * input_group + input, sums[o], inputs);
            }
          }
        }
      }
    }
  }
  return TINYTL_OK;
}
