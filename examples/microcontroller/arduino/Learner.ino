// Send "t<class>\n" to learn the picture that the camera holds, "i\n" to be told what it shows.
#include "learner.h"

// Fills x with LEARNER_INPUT_SIZE bytes, rows of RGB pixels: from your camera.
static void takePicture(uint8_t *x) {
  for (int i = 0; i < LEARNER_INPUT_SIZE; ++i) x[i] = 0;
}

void setup() {
  Serial.begin(115200);
  learner_reset();
}

void loop() {
  if (!Serial.available()) return;
  const char command = Serial.read();
  if (command == 't') {
    const int32_t label = Serial.parseInt();
    float loss;
    int32_t correct;
    takePicture(learner_input());
    const int status = learner_train_step(learner_input(), label, 0.01f, &loss, &correct);
    Serial.println(status ? "error" : "learned");
    Serial.println(loss);
  } else if (command == 'i') {
    float logits[LEARNER_OUTPUTS];
    takePicture(learner_input());
    if (learner_infer(learner_input(), logits)) return;
    int best = 0;
    for (int c = 1; c < LEARNER_OUTPUTS; ++c) best = logits[c] > logits[best] ? c : best;
    Serial.println(best);
  }
}
