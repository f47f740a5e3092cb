/* What the pools share. */
#ifndef TINYTL_INTERNAL_POOL_H
#define TINYTL_INTERNAL_POOL_H

#include "internal/axis.h"
#include "tinytl/pooling.h"

/* Shapes fit, channels agree, and no window lies wholly outside the input. */
bool tinytl_internal_is_pool(const tinytl_pool_params *params);

/* The forward axes of a pool's rows and columns. */
tinytl_internal_axis tinytl_internal_pool_rows(const tinytl_pool_params *params);
tinytl_internal_axis tinytl_internal_pool_columns(const tinytl_pool_params *params);

/* dx = 0 unless accumulate: the gradients scatter into it. */
void tinytl_internal_begin_scatter(float *dx, const tinytl_shape *shape, bool accumulate);

#endif
