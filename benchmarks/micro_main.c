/* Measures the program "measured" on a board: the instructions of an inference and of a training step. */
#include <stdio.h>

#include "measured.h"
#include "target.h"

static void fill(void) {
  static uint32_t seed = 1;
  uint8_t *x = measured_input();
  for (int i = 0; i < MEASURED_INPUT_SIZE; ++i) {
    seed = seed * 1664525u + 1013904223u;
    x[i] = (uint8_t)(seed >> 24);
  }
}

int main(void) {
  char line[80];
  float logits[MEASURED_OUTPUTS], loss = 0.0f;
  int32_t correct = 0;
  measured_reset();
  fill();
  uint32_t begin = target_ticks();
  if (measured_infer(measured_input(), logits)) return 1;
  const uint32_t inference = target_instructions(begin, target_ticks());
  fill();
  begin = target_ticks();
  if (measured_train_step(measured_input(), 1, 0.001f, &loss, &correct)) return 2;
  const uint32_t step = target_instructions(begin, target_ticks());
  snprintf(line, sizeof line, "%lu %lu\n", (unsigned long)inference, (unsigned long)step);
  target_write(line);
  return loss == loss ? 0 : 3;
}
