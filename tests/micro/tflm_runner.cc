/* Runs cases of the TFLM adapter's ops against the stand-in headers: tests/micro/tflm.py writes the file of cases, and
 * reads what this program writes: per case a status (0, 1: Prepare refused, 2: Invoke failed), then its outputs.
 *
 * Every tensor and buffer is a block of its own size on the heap: the address sanitizer sees one byte too far. */

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tensorflow/lite/micro/micro_context.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tinytl_ops.h"

namespace stand_in {

using namespace tinytl::tflm;

int current_case = -1;

using Block = std::unique_ptr<char[]>;

struct Tensor {
  TfLiteEvalTensor eval;
  TfLiteIntArray dims;
  Block data;
  size_t bytes;
};

class Context : public MicroContext {
 public:
  explicit Context(size_t scratch_limit) : scratch_limit_(scratch_limit) {}

  void* AllocatePersistentBuffer(size_t bytes) override { return Keep(&persistent_, bytes); }
  TfLiteStatus RequestScratchBufferInArena(size_t bytes, int* index) override {
    if (bytes > scratch_limit_) return kTfLiteError;
    Keep(&scratch_, bytes);
    *index = static_cast<int>(scratch_.size()) - 1;
    return kTfLiteOk;
  }
  void* GetScratchBuffer(int index) override { return scratch_.at(index).get(); }
  TfLiteEvalTensor* GetEvalTensor(int index) override { return &tensors.at(index)->eval; }

  std::vector<std::unique_ptr<Tensor>> tensors;

 private:
  static void* Keep(std::vector<Block>* blocks, size_t bytes) {
    blocks->emplace_back(new char[bytes]);
    std::memset(blocks->back().get(), 0xA5, bytes);
    return blocks->back().get();
  }

  size_t scratch_limit_;
  std::vector<Block> persistent_, scratch_;
};

class Resolver {
 public:
  TfLiteStatus AddCustom(const char* name, const TFLMRegistration* registration) {
    return ops.emplace(name, *registration).second ? kTfLiteOk : kTfLiteError;
  }
  std::map<std::string, TFLMRegistration> ops;
};

class Reader {
 public:
  explicit Reader(const char* path) : stream_(path, std::ios::binary) {}

  int32_t Int() {
    int32_t value = 0;
    stream_.read(reinterpret_cast<char*>(&value), sizeof(value));
    return value;
  }
  std::string Bytes() {
    std::string bytes(static_cast<size_t>(Int()), '\0');
    stream_.read(&bytes[0], static_cast<std::streamsize>(bytes.size()));
    return bytes;
  }

 private:
  std::ifstream stream_;
};

/* Tensors of a node: their indices, -1 for one that is absent. A tensor is type, rank, dimensions, bytes. */
TfLiteIntArray ReadTensors(Reader* reader, Context* context) {
  TfLiteIntArray indices = {};
  indices.size = reader->Int();
  for (int i = 0; i < indices.size; ++i) {
    const int32_t type = reader->Int();
    indices.data[i] = -1;
    if (type == 0) continue;
    indices.data[i] = static_cast<int>(context->tensors.size());
    std::unique_ptr<Tensor> tensor(new Tensor());
    tensor->dims.size = reader->Int();
    for (int d = 0; d < tensor->dims.size; ++d) tensor->dims.data[d] = reader->Int();
    const std::string bytes = reader->Bytes();
    tensor->bytes = bytes.size();
    tensor->data.reset(new char[bytes.size()]);
    std::memcpy(tensor->data.get(), bytes.data(), bytes.size());
    tensor->eval.type = static_cast<TfLiteType>(type);
    tensor->eval.dims = &tensor->dims;
    context->tensors.push_back(std::move(tensor));
  }
  return indices;
}

int RunNode(const TFLMRegistration& op, const std::string& options, Context* context, TfLiteIntArray* inputs,
            TfLiteIntArray* outputs) {
  TfLiteContext tflite = {};
  tflite.impl_ = static_cast<MicroContext*>(context);
  TfLiteNode node = {};
  node.inputs = inputs;
  node.outputs = outputs;
  node.custom_initial_data = options.empty() ? nullptr : options.data();
  node.custom_initial_data_size = static_cast<int>(options.size());
  node.user_data = op.init(&tflite, options.data(), options.size());
  if (op.prepare(&tflite, &node) != kTfLiteOk) return 1;
  for (auto& tensor : context->tensors) tensor->eval.data.data = tensor->data.get(); /* no data before Invoke */
  return op.invoke(&tflite, &node) == kTfLiteOk ? 0 : 2;
}

void Run(const Resolver& resolver, Reader* reader, std::ofstream* results) {
  const std::string name = reader->Bytes(), options = reader->Bytes();
  Context context(static_cast<size_t>(reader->Int()));
  TfLiteIntArray inputs = ReadTensors(reader, &context), outputs = ReadTensors(reader, &context);
  const int32_t status = RunNode(resolver.ops.at(name), options, &context, &inputs, &outputs);
  results->write(reinterpret_cast<const char*>(&status), sizeof(status));
  for (int i = 0; status == 0 && i < outputs.size; ++i) {
    if (outputs.data[i] < 0) continue;
    const Tensor& tensor = *context.tensors[static_cast<size_t>(outputs.data[i])];
    results->write(tensor.data.get(), static_cast<std::streamsize>(tensor.bytes));
  }
}

}  // namespace stand_in

void MicroPrintf(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::printf("%d ", stand_in::current_case);
  std::vprintf(format, arguments);
  std::printf("\n");
  va_end(arguments);
}

int main(int, char** argv) {
  stand_in::Resolver resolver;
  if (tinytl::tflm::RegisterTinyTL(resolver) != 0) return 1;
  if (tinytl::tflm::RegisterTinyTL(resolver) == 0) return 1; /* twice is an error, and it is passed on */
  stand_in::Reader reader(argv[1]);
  std::ofstream results(argv[2], std::ios::binary);
  const int32_t count = reader.Int();
  for (stand_in::current_case = 0; stand_in::current_case < count; ++stand_in::current_case) {
    stand_in::Run(resolver, &reader, &results);
  }
  return 0;
}
