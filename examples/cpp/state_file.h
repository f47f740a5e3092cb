// What was learned, as the safetensors file that Python's OnDeviceModel saves and restores too.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

struct State {
  struct Tensor {
    std::string dtype;  // safetensors': "F32", "I32"
    std::vector<int> shape;
    std::string data;  // row-major, little endian
  };

  std::map<std::string, Tensor> tensors;
  std::string fingerprint;  // of the exported file that the state belongs to
  int64_t step = 0;         // training steps since the factory weights
  std::optional<std::vector<std::string>> class_names;
};

// Throws std::runtime_error if the file is missing, truncated, damaged, or not a state. Where an unfinished fit of Python
// stands, and its best epoch so far, is left out: once a step was taken here, that fit could not go on as if it had not
// stopped.
State read_state(const std::filesystem::path& path);

// Either the whole new file stands at `path` afterwards, or what stood there before.
// Throws std::runtime_error if it cannot be written.
void write_state(const std::filesystem::path& path, const State& state);
