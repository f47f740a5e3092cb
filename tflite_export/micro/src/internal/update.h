/* The optimiser's arithmetic on a span of elements, for updates fused with the gradient that feeds them. */
#ifndef TINYTL_INTERNAL_UPDATE_H
#define TINYTL_INTERNAL_UPDATE_H

#include "tinytl/optimizer.h"

/* Every field and slot that the kind uses is legal. */
tinytl_status tinytl_internal_check_update(const tinytl_optimizer *optimizer, const tinytl_variable *variable);

/* Updates elements [first, first + count). */
void tinytl_internal_update(const tinytl_optimizer *optimizer, const tinytl_variable *variable, int32_t first,
                            const float *gradient, int32_t count);

#endif
