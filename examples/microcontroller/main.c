/* Learns three shapes from the pictures in flash, and says how well it knows them before and after. */
#include <math.h>
#include <stdio.h>

#include "learner.h"
#include "pictures.h"
#include "target.h"

#define EPOCHS 6
#define RATE 0.01f

static void say(const char *when, const char *what, float loss, int correct, int count) {
  char line[96];
  /* newlib-nano prints no floats by itself */
  snprintf(line, sizeof line, "%s, %s pictures: loss %d.%03d, %d of %d right\n", when, what, (int)loss,
           (int)(loss * 1000.0f) % 1000, correct, count);
  target_write(line);
}

/* The mean cross-entropy of `count` pictures, and how many are told right. */
static int evaluate(const uint8_t (*pictures)[LEARNER_INPUT_SIZE], const int32_t *labels, int count, const char *when,
                    const char *what) {
  float total = 0.0f;
  int correct = 0;
  for (int i = 0; i < count; ++i) {
    float logits[LEARNER_OUTPUTS], sum = 0.0f;
    const int status = learner_infer(pictures[i], logits);
    if (status) return status;
    int best = 0;
    for (int c = 1; c < LEARNER_OUTPUTS; ++c) best = logits[c] > logits[best] ? c : best;
    for (int c = 0; c < LEARNER_OUTPUTS; ++c) sum += expf(logits[c] - logits[best]);
    total += logf(sum) + logits[best] - logits[labels[i]];
    correct += best == labels[i];
  }
  say(when, what, total / (float)count, correct, count);
  return 0;
}

static int evaluate_all(const char *when) {
  const int status = evaluate(train_pictures, train_labels, TRAIN_PICTURES, when, "its own");
  return status ? status : evaluate(test_pictures, test_labels, TEST_PICTURES, when, "new");
}

int main(void) {
  char line[96];
  learner_reset();
  int status = evaluate_all("before");
  if (status) return status;
  uint32_t instructions = 0;
  for (int epoch = 0; epoch < EPOCHS; ++epoch) {
    for (int i = 0; i < TRAIN_PICTURES; ++i) {
      float loss;
      int32_t correct;
      const uint32_t begin = target_ticks();
      status = learner_train_step(train_pictures[i], train_labels[i], RATE, &loss, &correct);
      instructions = target_instructions(begin, target_ticks());
      if (status) return status;
    }
  }
  status = evaluate_all("after");
  snprintf(line, sizeof line, "a step takes %lu instructions\n", (unsigned long)instructions);
  target_write(line);
  return status;
}
