#include "internal/update.h"

tinytl_status tinytl_update(const tinytl_optimizer *optimizer, const tinytl_variable *variable, const float *gradient,
                            int32_t count) {
  const tinytl_status status = tinytl_internal_check_update(optimizer, variable);
  if (status != TINYTL_OK) return status;
  if (!gradient) return TINYTL_ERROR_NULL;
  if (count < 1) return TINYTL_ERROR_SHAPE;
  tinytl_internal_update(optimizer, variable, 0, gradient, count);
  return TINYTL_OK;
}
