/* The multiply-accumulate core of convolution and pointwise convolution, forward and input gradient alike:
 *
 *   destination[pixel][j] = start[j] + sum over taps, k of source[pixel + tap.source + k] * panel[tap.panel + k*width + j]
 *
 * for up to 8 destination channels j at a time. A panel is a block of the kernel, unpacked to float with its scale
 * multiplied in: that costs a few instructions a weight once, instead of three for every multiplication.
 */
#ifndef TINYTL_INTERNAL_GEMM_H
#define TINYTL_INTERNAL_GEMM_H

#include "internal/walk.h"

#define TINYTL_PANEL_WIDTH 8
#define TINYTL_PANEL_ROWS 128 /* taps * source channels in one panel, or the number of taps if that is more */

typedef struct tinytl_internal_gemm {
  const float *source;  /* at the first source channel of the panel */
  float *destination;   /* at the first destination channel of the block */
  const float *start;   /* what the sums start from: 8 floats, or NULL for what the destination holds */
  const float *panel;   /* [taps][depth][8] */
  int32_t depth;        /* source channels in the panel */
  int32_t width;        /* destination channels in the block, 1 to 8 */
} tinytl_internal_gemm;

/* A tinytl_internal_visit whose context is a tinytl_internal_gemm. */
void tinytl_internal_gemm_run(const void *gemm, const tinytl_internal_run *run);

/* How a panel is read out of a kernel: value (tap row, tap column, k, j) lies at
 * tap row * row_step + tap column * column_step + k * depth_step + j * width_step. Its scale is scale[j] forward, where
 * depth_step is 1, and scale[k] backward, where width_step is 1. */
typedef struct tinytl_internal_pack {
  int32_t rows, columns, depth, width;
  int32_t row_step, column_step, depth_step, width_step;
  bool backward;
} tinytl_internal_pack;

/* Fills panel [rows * columns][depth][8], zeros beyond width. kernel is int8_t with scale, or float with scale NULL;
 * both are already at the block's first value. */
void tinytl_internal_pack_panel(const tinytl_internal_pack *pack, const void *kernel, const float *scale,
                                float *panel);

/* A whole convolution or input gradient: every group, block of destination channels and chunk of source channels. */
typedef struct tinytl_internal_windows_job {
  const tinytl_shape *input, *output;
  const tinytl_window *window;
  int32_t groups;
  bool backward;
  const void *kernel; /* OHWI; int8_t with scale, or float with scale NULL */
  const float *scale;
  const float *bias; /* forward: float[output channels] or NULL */
  bool accumulate;   /* start from what the destination holds */
  const float *source;
  float *destination;
  void *workspace;
} tinytl_internal_windows_job;

size_t tinytl_internal_windows_workspace_bytes(const tinytl_window *window, int32_t source_channels);
void tinytl_internal_run_windows(const tinytl_internal_windows_job *job);

#endif
