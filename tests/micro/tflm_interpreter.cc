/* Runs nodes of the TFLM adapter in TFLM's own interpreter, from a real tree: tests/micro/test_tflm.py writes, per
 * node, a .tflite file and the bytes of its inputs, and reads status and outputs as of tflm_runner.cc. */

#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tinytl_ops.h"

namespace tree {

using namespace tinytl::tflm;

alignas(16) uint8_t arena[1 << 20];

int32_t ReadInt(std::ifstream* stream) {
  int32_t value = 0;
  stream->read(reinterpret_cast<char*>(&value), sizeof(value));
  return value;
}

std::string ReadBytes(std::ifstream* stream) {
  std::string bytes(static_cast<size_t>(ReadInt(stream)), '\0');
  stream->read(&bytes[0], static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

void Run(const uint8_t* model, std::ifstream* cases, const MicroOpResolver& resolver, std::ofstream* results) {
  MicroInterpreter interpreter(GetModel(model), resolver, arena, sizeof(arena));
  int32_t status = interpreter.AllocateTensors() == kTfLiteOk ? 0 : 1;
  const int32_t count = ReadInt(cases);
  for (int32_t i = 0; i < count; ++i) {
    const std::string bytes = ReadBytes(cases);
    if (status == 0) std::memcpy(interpreter.input(static_cast<size_t>(i))->data.data, bytes.data(), bytes.size());
  }
  if (status == 0 && interpreter.Invoke() != kTfLiteOk) status = 2;
  results->write(reinterpret_cast<const char*>(&status), sizeof(status));
  for (size_t i = 0; status == 0 && i < interpreter.outputs_size(); ++i) {
    const TfLiteTensor* output = interpreter.output(i);
    results->write(static_cast<const char*>(output->data.data), static_cast<std::streamsize>(output->bytes));
  }
}

}  // namespace tree

int main(int, char** argv) {
  using namespace tinytl::tflm;
  MicroMutableOpResolver<kOpCount> resolver;
  if (RegisterTinyTL(resolver) != kTfLiteOk) return 1;
  std::ifstream cases(argv[1], std::ios::binary);
  std::ofstream results(argv[2], std::ios::binary);
  const int32_t count = tree::ReadInt(&cases);
  for (int32_t i = 0; i < count; ++i) {
    const std::string model = tree::ReadBytes(&cases);
    alignas(16) static uint8_t aligned[1 << 20];
    if (model.size() > sizeof(aligned)) return 1;
    std::memcpy(aligned, model.data(), model.size());
    tree::Run(aligned, &cases, resolver, &results);
  }
  return 0;
}
