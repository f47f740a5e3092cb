#include <string.h>

#include "tinytl/program.h"

void tinytl_move_rows_s8(int8_t *buffer, int32_t width, int32_t first, int32_t count) {
  memmove(buffer, buffer + (size_t)first * (size_t)width, (size_t)count * (size_t)width);
}
