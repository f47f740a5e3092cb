/* Steps of a generated program on pictures of its own making, and its losses on the console: the same everywhere. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "net.h"

#ifdef ON_TARGET
#include "target.h"
#define SAY(text) target_write(text)
#else
#define SAY(text) fputs(text, stdout)
#endif

static uint32_t seed = 1;

static float noise(void) {
  seed = seed * 1664525u + 1013904223u;
  return (float)(int32_t)(seed >> 8) / 8388608.0f - 1.0f;
}

static uint8_t saved[NET_STATE_BYTES];

int main(void) {
  char line[80];
  float logits[NET_OUTPUTS], loss = 0.0f;
  int32_t correct = 0;
  net_reset();
  for (int step = 0; step < 4; ++step) {
    float *x = net_input();
    for (int i = 0; i < NET_INPUT_SIZE; ++i) x[i] = noise();
    if (net_train_step(x, step % NET_OUTPUTS, 0.02f, &loss, &correct)) return 1;
    snprintf(line, sizeof line, "%ld\n", (long)(loss * 1e6f));
    SAY(line);
  }
  if (net_save(saved)) return 2;
  net_reset();
  if (net_restore(saved)) return 3;
  saved[NET_STATE_BYTES - 1] ^= 1;
  if (net_restore(saved) == 0) return 4;
  float *x = net_input();
  for (int i = 0; i < NET_INPUT_SIZE; ++i) x[i] = noise();
  if (net_infer(x, logits)) return 5;
  snprintf(line, sizeof line, "%ld\n", (long)(logits[0] * 1e6f));
  SAY(line);
  return 0;
}
