/* Measures a .tflite file in TensorFlow Lite Micro on a board: what of the arena is used, and the instructions of an
 * inference and of a training step. micro_tflm.py compiles it and defines ARENA_BYTES, VARIABLES, and MODEL_FILE; it
 * writes operators.h: AddOperators(resolver), and kOperators, how many those are. */

#include <cstdarg>
#include <cstdio>
#include <new>

#define _Noreturn [[noreturn]]
extern "C" {
#include "target.h"
}
#include "operators.h"
#include "tensorflow/lite/micro/debug_log.h"
#include "tensorflow/lite/micro/micro_allocator.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_profiler_interface.h"
#include "tensorflow/lite/micro/micro_resource_variable.h"
#include "tflm_namespace.h"

__asm__(
    ".section .rodata.model, \"a\"\n.balign 16\n.global measured_model\nmeasured_model:\n.incbin \"" MODEL_FILE
    "\"\n.previous\n");
extern "C" const uint8_t measured_model[];

extern "C" void DebugLog(const char* format, va_list args) {
  char line[160];
  std::vsnprintf(line, sizeof(line), format, args);
  target_write(line);
}
extern "C" int DebugVsnprintf(char* buffer, size_t size, const char* format, va_list args) {
  return std::vsnprintf(buffer, size, format, args);
}
extern "C" void __cxa_pure_virtual() { target_exit(4); }
void operator delete(void*) noexcept {}
void operator delete(void*, size_t) noexcept {}
void operator delete(void*, size_t, std::align_val_t) noexcept {}

namespace measured {

using namespace tinytl::tflm;

/* A long run outlasts the counter, which is right up to 10^9 instructions: it is read at every operator. What reading
 * it costs is left out. */
class Clock : public MicroProfilerInterface {
 public:
  uint32_t BeginEvent(const char*) override { return Lap(), 0; }
  void EndEvent(uint32_t) override { Lap(); }

  void Start() {
    total_ = 0;
    last_ = target_ticks();
  }
  unsigned long long Stop() { return Lap(), total_; }

 private:
  void Lap() {
    total_ += target_instructions(last_, target_ticks());
    last_ = target_ticks();
  }

  uint32_t last_ = 0;
  unsigned long long total_ = 0;
};

enum Input { kX, kY, kLearningRate, kMode };
enum Output { kOutput, kLogits, kLoss };

/* x is noise from -1 to 1. A run overwrites its inputs. */
void Fill(MicroInterpreter* interpreter, int32_t mode) {
  static uint32_t seed = 1;
  TfLiteTensor* x = interpreter->input(kX);
  for (size_t i = 0; i < x->bytes / sizeof(float); ++i) {
    seed = seed * 1664525u + 1013904223u;
    x->data.f[i] = static_cast<float>(seed >> 24) / 127.5f - 1.0f;
  }
  interpreter->input(kY)->data.i32[0] = 1;
  interpreter->input(kLearningRate)->data.f[0] = 0.001f;
  interpreter->input(kMode)->data.i32[0] = mode;
}

alignas(16) uint8_t arena[ARENA_BYTES];

template <typename T>
struct Place {
  alignas(T) uint8_t bytes[sizeof(T)];
};
Place<Resolver> place_of_resolver;
Place<MicroInterpreter> place_of_interpreter;
Place<Clock> place_of_clock;

int Run() {
  Clock* clock = new (place_of_clock.bytes) Clock();
  Resolver* resolver = new (place_of_resolver.bytes) Resolver();
  AddOperators(*resolver);
  MicroAllocator* allocator = MicroAllocator::Create(arena, sizeof(arena));
  MicroResourceVariables* variables = MicroResourceVariables::Create(allocator, VARIABLES);
  MicroInterpreter* interpreter = new (place_of_interpreter.bytes)
      MicroInterpreter(GetModel(measured_model), *resolver, allocator, variables, clock);
  if (interpreter->AllocateTensors() != kTfLiteOk) return 1;
  Fill(interpreter, 0);
  if (interpreter->Invoke() != kTfLiteOk) return 2; /* the first run assigns the variables */
  unsigned long long counts[2];
  for (int32_t mode = 0; mode < 2; ++mode) {
    Fill(interpreter, mode);
    clock->Start();
    if (interpreter->Invoke() != kTfLiteOk) return 3;
    counts[mode] = clock->Stop();
  }
  const float loss = interpreter->output(kLoss)->data.f[0];
  char line[96];
  std::snprintf(line, sizeof(line), "%lu %lu%09lu %lu%09lu %ld\n",
                static_cast<unsigned long>(interpreter->arena_used_bytes()),
                static_cast<unsigned long>(counts[0] / 1000000000u), static_cast<unsigned long>(counts[0] % 1000000000u),
                static_cast<unsigned long>(counts[1] / 1000000000u), static_cast<unsigned long>(counts[1] % 1000000000u),
                static_cast<long>(loss * 1e6f));
  target_write(line);
  return loss == loss ? 0 : 5;
}

}  // namespace measured

int main() { return measured::Run(); }
