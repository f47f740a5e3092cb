// A file that tflite_export wrote, through LiteRT's C API.
#pragma once

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "state_file.h"
#include "tensorflow/lite/c/c_api.h"
#include "tensorflow/lite/c/c_api_experimental.h"  // where older releases declare TfLiteSignatureRunner

inline void check(bool good, const std::string& what) {
  if (!good) throw std::runtime_error(what);
}

// One interpreter, and with it one set of variables, which start with the file's factory values. Not thread-safe.
// Everything throws std::runtime_error on failure.
class Model {
 public:
  explicit Model(const std::string& path) : model_(TfLiteModelCreateFromFile(path.c_str())) {
    check(model_ != nullptr, path + " is missing or no .tflite file");
    interpreter_.reset(TfLiteInterpreterCreate(model_.get(), nullptr));
    check(interpreter_ != nullptr, path + " cannot be loaded by this LiteRT");
  }

  bool has(const std::string& signature) const {
    for (int i = 0; i < TfLiteInterpreterGetSignatureCount(interpreter_.get()); ++i) {
      if (TfLiteInterpreterGetSignatureKey(interpreter_.get(), i) == signature) return true;
    }
    return false;
  }

  // Set every input before each run: the runtime may use its memory for something else meanwhile.
  template <typename Values>
  void set(const std::string& signature, const std::string& name, const Values& values) {
    const size_t bytes = values.size() * sizeof values[0];
    check(TfLiteTensorCopyFromBuffer(input(signature, name), values.data(), bytes) == kTfLiteOk,
          signature + "'s " + name + " does not take " + std::to_string(bytes) + " bytes");
  }

  void run(const std::string& signature) {
    check(TfLiteSignatureRunnerInvoke(runner(signature)) == kTfLiteOk, signature + " failed");
  }

  template <typename T>
  std::vector<T> get(const std::string& signature, const std::string& name) {
    const TfLiteTensor* tensor = TfLiteSignatureRunnerGetOutputTensor(runner(signature), name.c_str());
    check(tensor != nullptr, signature + " has no output " + name);
    std::vector<T> values(TfLiteTensorByteSize(tensor) / sizeof(T));
    check(TfLiteTensorCopyToBuffer(tensor, values.data(), values.size() * sizeof(T)) == kTfLiteOk, name);
    return values;
  }

  TfLiteTensor* input(const std::string& signature, const std::string& name) {
    TfLiteTensor* tensor = TfLiteSignatureRunnerGetInputTensor(runner(signature), name.c_str());
    check(tensor != nullptr, signature + " has no input " + name);
    return tensor;
  }

  // Every variable by name, those of the optimizer included.
  std::map<std::string, State::Tensor> variables() {
    set("save", "request", std::vector<float>{0});
    run("save");
    std::map<std::string, State::Tensor> result;
    for (size_t i = 0; i < TfLiteSignatureRunnerGetOutputCount(runner("save")); ++i) {
      const std::string name = TfLiteSignatureRunnerGetOutputName(runner("save"), i);
      const TfLiteTensor* tensor = TfLiteSignatureRunnerGetOutputTensor(runner("save"), name.c_str());
      const std::vector<char> data = get<char>("save", name);
      result[name] = {dtype(tensor), shape(tensor), std::string(data.begin(), data.end())};
    }
    return result;
  }

  // Overwrites every variable, and drops what was accumulated.
  void restore(const std::map<std::string, State::Tensor>& variables) {
    check(variables.size() == TfLiteSignatureRunnerGetInputCount(runner("restore")),
          "the state is another model's: it has " + std::to_string(variables.size()) + " variables");
    for (const auto& [name, values] : variables) {
      const TfLiteTensor* tensor = input("restore", name);
      check(dtype(tensor) == values.dtype && shape(tensor) == values.shape, name + " has another shape in the state");
      set("restore", name, values.data);
    }
    run("restore");
  }

 private:
  TfLiteSignatureRunner* runner(const std::string& signature) {
    Runner& runner = runners_[signature];
    if (!runner) {
      runner.reset(TfLiteInterpreterGetSignatureRunner(interpreter_.get(), signature.c_str()));
      check(runner != nullptr, "the model has no signature " + signature + "; was it written by tflite_export?");
      check(TfLiteSignatureRunnerAllocateTensors(runner.get()) == kTfLiteOk, "no memory for " + signature);
    }
    return runner.get();
  }

  static std::string dtype(const TfLiteTensor* tensor) {
    return TfLiteTensorType(tensor) == kTfLiteInt32 ? "I32" : "F32";
  }

  static std::vector<int> shape(const TfLiteTensor* tensor) {
    std::vector<int> result;
    for (int i = 0; i < TfLiteTensorNumDims(tensor); ++i) result.push_back(TfLiteTensorDim(tensor, i));
    return result;
  }

  template <auto function>
  struct Delete {
    template <typename T>
    void operator()(T* object) const {
      function(object);
    }
  };
  using Runner = std::unique_ptr<TfLiteSignatureRunner, Delete<TfLiteSignatureRunnerDelete>>;
  std::unique_ptr<TfLiteModel, Delete<TfLiteModelDelete>> model_;
  std::unique_ptr<TfLiteInterpreter, Delete<TfLiteInterpreterDelete>> interpreter_;
  std::map<std::string, Runner> runners_;
};
