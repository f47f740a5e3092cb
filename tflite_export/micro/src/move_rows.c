#include "tinytl/program.h"

void tinytl_move_rows(float *buffer, int32_t width, int32_t first, int32_t count) {
  const float *from = buffer + (size_t)first * (size_t)width;
  const int32_t size = count * width;
  int32_t i = 0;
  for (; i + 4 <= size; i += 4) {
    const float a = from[i], b = from[i + 1], c = from[i + 2], d = from[i + 3];
    buffer[i] = a;
    buffer[i + 1] = b;
    buffer[i + 2] = c;
    buffer[i + 3] = d;
  }
  for (; i < size; ++i) buffer[i] = from[i];
}
