/* What every family of kernels shares: status codes, shapes, windows, masks.
 *
 * Conventions of the whole library
 * - Activations and gradients are float32, row-major NHWC: element (n, h, w, c) at ((n*height + h)*width + w)*channels + c.
 * - Nothing is allocated and no global is written. Every buffer, workspace included, belongs to the caller.
 * - A pointer that may be NULL says so. Every other pointer must be valid; buffers are aligned to their element type,
 *   workspaces to 4 bytes. Buffers do not overlap unless the header says "in place".
 * - Arguments are checked before anything is written: on any status but TINYTL_OK the outputs are untouched.
 * - Counts (elements of one tensor) fit in int32_t.
 * - A function called X_input_gradient takes the gradient of the loss in the layer's output *before* the activation:
 *   whoever produced that gradient multiplied it by the activation's mask. With `mask_below`, it does the same service
 *   for the layer whose output x was.
 */
#ifndef TINYTL_TYPES_H
#define TINYTL_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tinytl_status {
  TINYTL_OK = 0,
  TINYTL_ERROR_NULL = 1,      /* a pointer that must not be NULL is NULL */
  TINYTL_ERROR_SHAPE = 2,     /* a dimension is < 1, or shapes, window and groups do not fit together */
  TINYTL_ERROR_ARGUMENT = 3,  /* a value is outside its legal range */
  TINYTL_ERROR_WORKSPACE = 4  /* the workspace is smaller than ..._workspace_bytes says */
} tinytl_status;

typedef enum tinytl_activation {
  TINYTL_ACTIVATION_NONE = 0,
  TINYTL_ACTIVATION_RELU = 1, /* max(v, 0); derivative 1 where v > 0 */
  TINYTL_ACTIVATION_RELU6 = 2 /* min(max(v, 0), 6); derivative 1 where 0 < v < 6. A NaN becomes 0 or 6 */
} tinytl_activation;

/* A feature map, [batch, height, width, channels], every dimension >= 1. */
typedef struct tinytl_shape {
  int32_t batch, height, width, channels;
} tinytl_shape;

/* A sliding window. Output (oy, ox) reads input rows oy*stride_height - pad_top + [0, height) and columns likewise;
 * what lies outside the input counts as zero. Padding below and to the right is what the output's size implies, so
 * asymmetric padding needs no more fields. Legal: height, width, stride >= 1; 0 <= pad_top < height,
 * 0 <= pad_left < width; the last window starts inside the input. No dilation. */
typedef struct tinytl_window {
  int32_t height, width;
  int32_t stride_height, stride_width;
  int32_t pad_top, pad_left;
} tinytl_window;

/* TensorFlow's "SAME": fills window->pad_top and pad_left, and output's height and width = ceil(input / stride).
 * output->batch and ->channels are left alone. */
tinytl_status tinytl_same_padding(const tinytl_shape *input, tinytl_window *window, tinytl_shape *output);

/* Masks: one bit an element, 1 where the activation's derivative is not zero. A row is the channels of one pixel,
 * padded to whole bytes: element (pixel, c) is bit (c & 7) of byte pixel*ceil(channels/8) + c/8, unused bits are 0. */
static inline size_t tinytl_mask_bytes(int32_t pixels, int32_t channels) {
  return (size_t)pixels * (((size_t)channels + 7u) / 8u);
}

static inline int32_t tinytl_pixels(const tinytl_shape *shape) { return shape->batch * shape->height * shape->width; }

#ifdef __cplusplus
}
#endif
#endif
