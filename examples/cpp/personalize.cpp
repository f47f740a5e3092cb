// An exported model learns from its user's images, through LiteRT's C API:
//
//   personalize model.tflite state.safetensors [--epochs=10] [--rate=0.05] cup=1.ppm cup=2.ppm plant=3.ppm ?=4.ppm
//
// goes on from state.safetensors if it is there, trains on the images that have a name, saves, and says what the
// images with a question mark show. A name that the model does not know takes its next spare output. Without images
// that have a name nothing is written.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "json.h"
#include "model.h"
#include "state_file.h"

namespace {

struct Sample {
  std::vector<float> x;
  int label;
};

// A binary PPM (P6) of the model's size, scaled as the model takes it.
std::vector<float> read_image(const std::string& path, const Json& info) {
  const auto& shape = info.at("input_shape").items;
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  int width = 0, height = 0, largest = 0;
  file >> magic >> width >> height >> largest;
  file.get();
  const int expected_height = shape.at(0).number, expected_width = shape.at(1).number;
  check(file && magic == "P6" && largest == 255, path + " is missing or no binary PPM with 8 bits a channel");
  check(width == expected_width && height == expected_height,
        path + ": expected " + std::to_string(expected_width) + " x " + std::to_string(expected_height) + " pixels");
  std::vector<unsigned char> pixels(3 * width * height);
  check(bool(file.read(reinterpret_cast<char*>(pixels.data()), pixels.size())), path + " is cut off");
  const float scale = info.at("input_scale").number, offset = info.at("input_offset").number;
  std::vector<float> x(pixels.size());
  std::transform(pixels.begin(), pixels.end(), x.begin(), [=](float pixel) { return pixel * scale + offset; });
  return x;
}

// The loss of one step on at most `rows` samples at a time; the last ones are padded with the label -1, which does not
// count. Returns NaN where something was not finite; nothing has then changed.
float step(Model& model, const Sample* samples, int count, int rows, float rate) {
  const bool whole = model.has("train");
  const std::string signature = whole ? "train" : "accumulate";
  float loss = 0;
  for (int begin = 0; begin < count; begin += rows) {
    std::vector<float> x;
    std::vector<int32_t> y(rows, -1);
    const int valid = std::min(rows, count - begin);
    for (int row = 0; row < valid; ++row) {
      x.insert(x.end(), samples[begin + row].x.begin(), samples[begin + row].x.end());
      y[row] = samples[begin + row].label;
    }
    x.resize(rows * samples[0].x.size());
    model.set(signature, "x", x);
    model.set(signature, "y", y);
    if (whole) model.set(signature, "learning_rate", std::vector<float>{rate});
    model.run(signature);
    loss += model.get<float>(signature, "loss")[0] * valid / count;
  }
  if (whole) return loss;
  model.set("apply", "learning_rate", std::vector<float>{rate});
  model.run("apply");
  return model.get<int32_t>("apply", "applied")[0] ? loss : NAN;
}

int class_index(std::vector<std::string>& names, const std::string& name, int classes) {
  const auto found = std::find(names.begin(), names.end(), name);
  const int index = found - names.begin();
  check(index < classes, "there is no spare output for the class " + name);
  if (found == names.end()) {
    names.push_back(name);
    std::printf("new class %s\n", name.c_str());
  }
  return index;
}

void predict(Model& model, const std::string& path, const Json& info, const std::vector<std::string>& names) {
  std::vector<float> x = read_image(path, info);
  x.resize(x.size() * static_cast<int>(info.at("infer_batch_size").number));  // the other rows are not looked at
  model.set("infer", "x", x);
  model.run("infer");
  const std::vector<float> logits = model.get<float>("infer", "logits");
  const float largest = *std::max_element(logits.begin(), logits.begin() + names.size());
  float sum = 0;
  for (size_t i = 0; i < names.size(); ++i) sum += std::exp(logits[i] - largest);
  std::printf("%s\n", path.c_str());
  for (size_t i = 0; i < names.size(); ++i) {
    std::printf("  %.6f %s\n", std::exp(logits[i] - largest) / sum, names[i].c_str());
  }
}

void personalize(const std::vector<std::string>& arguments) {
  check(arguments.size() >= 3, "expected: model.tflite state.safetensors [--epochs=10] [--rate=0.05] name=image.ppm …");
  Model model(arguments[0]);
  model.set("info", "request", std::vector<float>{0});
  model.run("info");
  const std::vector<char> text = model.get<char>("info", "json");
  const Json info = parse_json({text.data(), text.size()});
  check(info.at("format_version").number == 1, "this program reads info of version 1");
  check(info.at("loss").string == "sparse_categorical_crossentropy", "this program trains classifiers");
  const int classes = info.at("classes").number, batch_size = info.at("batch_size").number;
  const Json& micro_batch = info.at("micro_batch");
  const int rows = micro_batch.kind == Json::Kind::kNull ? batch_size : micro_batch.number;

  State state{{}, info.at("fingerprint").string, 0, {}};
  std::vector<std::string> names;
  for (const Json& name : info.at("class_names").items) names.push_back(name.string);
  for (int i = 0; names.empty() && i < classes; ++i) names.push_back("class " + std::to_string(i));
  if (std::filesystem::exists(arguments[1])) {
    state = read_state(arguments[1]);
    check(state.fingerprint == info.at("fingerprint").string, arguments[1] + " belongs to another export of the model");
    model.restore(state.tensors);
    const auto known = state.class_names.value_or(names);
    check(std::equal(names.begin(), names.begin() + std::min(names.size(), known.size()), known.begin()) &&
              known.size() <= static_cast<size_t>(classes),
          arguments[1] + " names other classes than the model");
    if (known.size() > names.size()) names = known;
  }

  int epochs = 10;
  float rate = 0.05f;
  std::vector<Sample> samples;
  std::vector<std::string> questions;
  for (const std::string& argument : std::vector(arguments.begin() + 2, arguments.end())) {
    const size_t equals = argument.find('=');
    check(equals != std::string::npos, "expected name=image.ppm, got " + argument);
    const std::string name = argument.substr(0, equals), value = argument.substr(equals + 1);
    if (name == "--epochs") {
      epochs = std::stoi(value);
    } else if (name == "--rate") {
      rate = std::stof(value);
    } else if (name == "?") {
      questions.push_back(value);
    } else {
      samples.push_back({read_image(value, info), class_index(names, name, classes)});
    }
  }

  for (int epoch = 0; epoch < epochs && !samples.empty(); ++epoch) {
    float loss = 0;
    size_t taken = 0;
    for (size_t begin = 0; begin < samples.size(); begin += batch_size) {
      const int count = std::min<size_t>(batch_size, samples.size() - begin);
      const float found = step(model, &samples[begin], count, rows, rate);
      if (std::isnan(found)) continue;
      ++state.step;
      loss += found * count;
      taken += count;
    }
    std::printf("epoch %d of %d: loss %.6f", epoch + 1, epochs, loss / taken);
    std::printf(taken == samples.size() ? "\n" : "; steps were skipped, not finite: lower the rate\n");
  }
  if (!samples.empty()) {
    state.tensors = model.variables();
    if (!info.at("class_names").items.empty()) state.class_names = names;
    write_state(arguments[1], state);
  }
  for (const std::string& question : questions) predict(model, question, info, names);
}

}  // namespace

int main(int count, char** arguments) {
  try {
    personalize({arguments + 1, arguments + count});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "personalize: %s\n", error.what());
    return 1;
  }
}
