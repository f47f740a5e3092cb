#include "internal/gemm.h"

/* One tap's [depth][width] block, int8. Forward: a panel column is a row of the kernel, contiguous along depth, with one
 * scale. Input gradient: a panel row is contiguous along width, with one scale. Four values a turn share the loop. */

static void pack_tap_forward(const tinytl_internal_pack *pack, const int8_t *kernel, const float *scale,
                             float *panel) {
  const int32_t depth = pack->depth, width = pack->width;
  const ptrdiff_t step = pack->width_step;
  int32_t j = 0;
  for (; j + 4 <= width; j += 4, kernel += 4 * step, panel += 4) {
    const int8_t *value0 = kernel, *value1 = value0 + step, *value2 = value1 + step, *value3 = value2 + step;
    const int8_t *const end = value0 + depth;
    const float scale0 = scale[j], scale1 = scale[j + 1], scale2 = scale[j + 2], scale3 = scale[j + 3];
    float *out = panel;
    do {
      out[0] = (float)*value0++ * scale0;
      out[1] = (float)*value1++ * scale1;
      out[2] = (float)*value2++ * scale2;
      out[3] = (float)*value3++ * scale3;
      out += TINYTL_PANEL_WIDTH;
    } while (value0 != end);
  }
  for (; j < width; ++j, kernel += step, ++panel) {
    for (int32_t k = 0; k < depth; ++k) panel[k * TINYTL_PANEL_WIDTH] = (float)kernel[k] * scale[j];
  }
}

static void pack_tap_backward(const tinytl_internal_pack *pack, const int8_t *kernel, const float *scale,
                              float *panel) {
  const int32_t width = pack->width;
  for (int32_t k = 0; k < pack->depth; ++k, kernel += pack->depth_step, panel += TINYTL_PANEL_WIDTH) {
    const float factor = scale[k];
    int32_t j = 0;
    for (; j + 4 <= width; j += 4) {
      panel[j] = (float)kernel[j] * factor;
      panel[j + 1] = (float)kernel[j + 1] * factor;
      panel[j + 2] = (float)kernel[j + 2] * factor;
      panel[j + 3] = (float)kernel[j + 3] * factor;
    }
    for (; j < width; ++j) panel[j] = (float)kernel[j] * factor;
  }
}

static void pack_tap_float(const tinytl_internal_pack *pack, const float *kernel, float *panel) {
  const int32_t width = pack->width;
  const ptrdiff_t step = pack->width_step;
  for (int32_t k = 0; k < pack->depth; ++k, kernel += pack->depth_step, panel += TINYTL_PANEL_WIDTH) {
    const float *value = kernel;
    int32_t j = 0;
    for (; j + 4 <= width; j += 4, value += 4 * step) {
      panel[j] = value[0];
      panel[j + 1] = value[step];
      panel[j + 2] = value[2 * step];
      panel[j + 3] = value[3 * step];
    }
    for (; j < width; ++j, value += step) panel[j] = *value;
  }
}

static void clear(float *panel, int32_t rows) {
  for (int32_t i = 0; i < rows * TINYTL_PANEL_WIDTH; ++i) panel[i] = 0.0f;
}

void tinytl_internal_pack_panel(const tinytl_internal_pack *pack, const void *kernel, const float *scale,
                                float *panel) {
  if (pack->width != TINYTL_PANEL_WIDTH) clear(panel, pack->rows * pack->columns * pack->depth);
  for (int32_t row = 0; row < pack->rows; ++row) {
    for (int32_t column = 0; column < pack->columns; ++column) {
      const ptrdiff_t tap = (ptrdiff_t)row * pack->row_step + (ptrdiff_t)column * pack->column_step;
      if (!scale) {
        pack_tap_float(pack, (const float *)kernel + tap, panel);
      } else if (pack->backward) {
        pack_tap_backward(pack, (const int8_t *)kernel + tap, scale, panel);
      } else {
        pack_tap_forward(pack, (const int8_t *)kernel + tap, scale, panel);
      }
      panel += pack->depth * TINYTL_PANEL_WIDTH;
    }
  }
}
