#include "options.h"

#include <cstring>

namespace tinytl {
namespace tflm {

namespace {

constexpr int kWindowWords = 6, kOptimizerWords = 7;

/* Words of a byte string of any alignment, on a machine of any byte order. */
class Words {
 public:
  explicit Words(const uint8_t* bytes) : bytes_(bytes) {}

  int32_t Int() {
    const uint32_t word = Next();
    int32_t value;
    std::memcpy(&value, &word, sizeof(value));
    return value;
  }
  float Float() {
    const uint32_t word = Next();
    float value;
    std::memcpy(&value, &word, sizeof(value));
    return value;
  }

 private:
  uint32_t Next() {
    uint32_t word = 0;
    for (int i = 0; i < 4; ++i) word |= static_cast<uint32_t>(bytes_[i]) << (8 * i);
    bytes_ += 4;
    return word;
  }

  const uint8_t* bytes_;
};

bool HasWords(const Node& node, int count) {
  if (!node.Same("bytes of custom options", node.options_bytes(), 4 * (1 + count))) return false;
  return node.Same("version of the custom options", Words(node.options()).Int(), kOptionsVersion);
}

bool TakeWindow(const Node& node, Words* words, tinytl_window* window, int32_t* groups, tinytl_activation* activation) {
  window->stride_height = words->Int();
  window->stride_width = words->Int();
  window->pad_top = words->Int();
  window->pad_left = words->Int();
  *groups = words->Int();
  const int32_t kind = words->Int();
  if (!node.Expect(kind >= 0 && kind <= 2, "activation is none of 0 (none), 1 (ReLU), 2 (ReLU6)")) return false;
  *activation = static_cast<tinytl_activation>(kind);
  return true;
}

bool TakeOptimizer(const Node& node, Words* words, tinytl_optimizer* optimizer) {
  const int32_t kind = words->Int();
  if (!node.Expect(kind >= 0 && kind <= 2, "optimiser is none of 0 (SGD), 1 (momentum), 2 (Adam)")) return false;
  *optimizer = {};
  optimizer->kind = static_cast<tinytl_optimizer_kind>(kind);
  optimizer->nesterov = words->Int() != 0;
  optimizer->momentum = words->Float();
  optimizer->beta_1 = words->Float();
  optimizer->beta_2 = words->Float();
  optimizer->epsilon = words->Float();
  optimizer->weight_decay = words->Float();
  tinytl_optimizer tried = *optimizer; /* with a learning rate that is legal: the true one is a tensor */
  tried.gradient_scale = 1.0f;
  return node.Expect(tinytl_optimizer_begin_step(&tried, 1) == TINYTL_OK,
                     "an optimiser's number is out of its range (tinytl/optimizer.h)");
}

}  // namespace

bool ReadNoOptions(const Node& node) { return HasWords(node, 0); }

bool ReadWindow(const Node& node, tinytl_window* window, int32_t* groups, tinytl_activation* activation) {
  if (!HasWords(node, kWindowWords)) return false;
  Words words(node.options() + 4);
  return TakeWindow(node, &words, window, groups, activation);
}

bool ReadOptimizer(const Node& node, tinytl_optimizer* optimizer) {
  if (!HasWords(node, kOptimizerWords)) return false;
  Words words(node.options() + 4);
  return TakeOptimizer(node, &words, optimizer);
}

bool ReadWindowAndOptimizer(const Node& node, tinytl_window* window, int32_t* groups, tinytl_activation* activation,
                            tinytl_optimizer* optimizer) {
  if (!HasWords(node, kWindowWords + kOptimizerWords)) return false;
  Words words(node.options() + 4);
  return TakeWindow(node, &words, window, groups, activation) && TakeOptimizer(node, &words, optimizer);
}

}  // namespace tflm
}  // namespace tinytl
