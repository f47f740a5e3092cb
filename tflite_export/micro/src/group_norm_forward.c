#include <math.h>

#include "internal/arithmetic.h"
#include "internal/group_norm.h"
#include "internal/rows.h"

/* One group of one sample: `size` channels of every pixel. */
typedef struct group {
  int32_t rows, columns, channels, size;
} group;

static float size_of(const group *g) { return (float)g->rows * (float)g->columns * (float)g->size; }

/* A first mean. Rows are summed apart, which keeps large maps exact. */
static float rough_mean_of(const group *g, const float *x) {
  float total = 0.0f;
  for (int32_t row = 0; row < g->rows; ++row) {
    float sum = 0.0f;
    for (int32_t column = 0; column < g->columns; ++column, x += g->channels) {
      for (int32_t c = 0; c < g->size; ++c) sum += x[c];
    }
    total += sum;
  }
  return total / size_of(g);
}

/* Mean and variance, from what is left behind a rough mean: a large common offset costs no digits. */
static void moments_of(const group *g, const float *x, float rough, float *mean, float *variance) {
  float total = 0.0f, squares = 0.0f;
  for (int32_t row = 0; row < g->rows; ++row) {
    float sum = 0.0f, square = 0.0f;
    for (int32_t column = 0; column < g->columns; ++column, x += g->channels) {
      for (int32_t c = 0; c < g->size; ++c) {
        const float value = x[c] - rough;
        sum += value;
        square = TINYTL_MULTIPLY_ADD(square, value, value);
      }
    }
    total += sum;
    squares += square;
  }
  const float rest = total / size_of(g);
  *mean = rough + rest;
  *variance = squares / size_of(g) - rest * rest;
}

static void normalise(const group *g, const float *x, float mean, float rstd, const float *gamma, const float *beta,
                      float *y) {
  const int32_t pixels = g->rows * g->columns;
  for (int32_t c = 0; c < g->size; ++c) {
    const float factor = gamma ? rstd * gamma[c] : rstd;
    const float offset = beta ? beta[c] : 0.0f;
    const float *from = x + c;
    float *to = y + c;
    for (int32_t pixel = 0; pixel < pixels; ++pixel, from += g->channels, to += g->channels) {
      *to = (*from - mean) * factor + offset;
    }
  }
}

tinytl_status tinytl_group_norm_forward(const tinytl_group_norm_params *params, const float *x, const float *gamma,
                                        const float *beta, float *y, float *mean, float *rstd, uint8_t *mask) {
  if (!params || !x || !y || !mean != !rstd) return TINYTL_ERROR_NULL;
  if (!tinytl_internal_is_group_norm(params)) return TINYTL_ERROR_SHAPE;
  if (!tinytl_internal_is_activation(params->activation) || !(params->epsilon > 0.0f)) return TINYTL_ERROR_ARGUMENT;
  const tinytl_shape *const shape = &params->shape;
  const group g = {shape->height, shape->width, shape->channels, shape->channels / params->groups};
  const int32_t sample = shape->height * shape->width * shape->channels;
  for (int32_t n = 0; n < shape->batch; ++n) {
    for (int32_t i = 0; i < params->groups; ++i) {
      const int32_t channel = i * g.size, first = n * sample + channel;
      float centre, variance;
      moments_of(&g, x + first, rough_mean_of(&g, x + first), &centre, &variance);
      const float scale = 1.0f / sqrtf(fmaxf(variance, 0.0f) + params->epsilon);
      normalise(&g, x + first, centre, scale, gamma ? gamma + channel : NULL, beta ? beta + channel : NULL, y + first);
      if (mean) {
        *mean++ = centre;
        *rstd++ = scale;
      }
    }
  }
  tinytl_internal_activate_rows(y, tinytl_pixels(shape), shape->channels, params->activation, mask);
  return TINYTL_OK;
}
