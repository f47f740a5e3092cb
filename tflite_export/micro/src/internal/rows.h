/* What ends a forward pass or an input gradient: activation and mask, row by row. */
#ifndef TINYTL_INTERNAL_ROWS_H
#define TINYTL_INTERNAL_ROWS_H

#include "tinytl/types.h"

/* y = activation(y) in place, mask (or NULL) as types.h defines it. */
void tinytl_internal_activate_rows(float *y, int32_t pixels, int32_t channels, tinytl_activation activation,
                                   uint8_t *mask);

/* y = x where the mask's bit is set, else 0. y may be x. */
void tinytl_internal_mask_rows(const float *x, const uint8_t *mask, int32_t pixels, int32_t channels, float *y);

/* A mask of ones. */
void tinytl_internal_fill_mask(uint8_t *mask, int32_t pixels, int32_t channels);

#endif
