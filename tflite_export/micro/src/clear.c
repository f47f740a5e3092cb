#include <string.h>

#include "tinytl/program.h"

tinytl_status tinytl_clear(float *values, int32_t count) {
  if (!values) return TINYTL_ERROR_NULL;
  if (count < 1) return TINYTL_ERROR_SHAPE;
  memset(values, 0, (size_t)count * sizeof *values);
  return TINYTL_OK;
}
