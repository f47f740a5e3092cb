#ifndef TINYTL_INTERNAL_GROUP_NORM_H
#define TINYTL_INTERNAL_GROUP_NORM_H

#include "internal/check.h"
#include "tinytl/group_norm.h"

static inline bool tinytl_internal_is_group_norm(const tinytl_group_norm_params *params) {
  return tinytl_internal_is_shape(&params->shape) && params->groups >= 1 &&
         params->shape.channels % params->groups == 0;
}

#endif
