#include "json.h"

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Json document() {
    Json result = value(0);
    if (peek() != '\0') fail();
    return result;
  }

 private:
  Json value(int depth) {
    if (depth > 32) fail();
    Json result;
    const char first = peek();
    if (first == '{') {
      result.kind = Json::Kind::kObject;
      sequence('{', '}', [&] {
        std::string name = (peek(), string());
        expect(':');
        result.members.emplace_back(std::move(name), value(depth + 1));
      });
    } else if (first == '[') {
      result.kind = Json::Kind::kArray;
      sequence('[', ']', [&] { result.items.push_back(value(depth + 1)); });
    } else if (first == '"') {
      result.kind = Json::Kind::kString;
      result.string = string();
    } else if (word("true") || word("false")) {
      result.kind = Json::Kind::kBool;
      result.number = first == 't';
    } else if (!word("null")) {
      result.kind = Json::Kind::kNumber;
      result.number = number();
    }
    return result;
  }

  template <typename Item>
  void sequence(char open, char close, Item item) {
    expect(open);
    if (peek() == close) return expect(close);
    for (item(); peek() == ','; item()) expect(',');
    expect(close);
  }

  double number() {
    const std::string digits(text_.substr(at_, 32));
    char* end = nullptr;
    const double result = std::strtod(digits.c_str(), &end);
    if (end == digits.c_str()) fail();
    at_ += end - digits.c_str();
    return result;
  }

  std::string string() {
    std::string result;
    for (at_ += take('"'); next() != '"'; ++at_) {
      if (next() != '\\') {
        result += next();
        continue;
      }
      ++at_;
      static const std::string_view kEscapes = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
      if (next() == 'u') {
        append_utf8(result, code_point());
      } else if (const size_t index = kEscapes.find(next()); index != std::string_view::npos) {
        result += kMeanings[index];
      } else {
        fail();
      }
    }
    ++at_;
    return result;
  }

  // Of the escape at whose 'u' this stands, and of the second half of a surrogate pair.
  unsigned code_point() {
    unsigned code = four_digits();
    if (code >= 0xd800 && code < 0xdc00 && text_.substr(at_ + 1, 2) == "\\u") {
      at_ += 2;
      code = 0x10000 + ((code - 0xd800) << 10) + (four_digits() - 0xdc00);
    }
    return code;
  }

  unsigned four_digits() {
    const std::string digits(text_.substr(at_ + 1, 4));
    char* end = nullptr;
    const unsigned result = std::strtoul(digits.c_str(), &end, 16);
    if (end != digits.c_str() + 4) fail();
    at_ += 4;
    return result;
  }

  static void append_utf8(std::string& result, unsigned code) {
    const auto tail = [&](int shift) { result += static_cast<char>(0x80 | ((code >> shift) & 0x3f)); };
    if (code < 0x80) {
      result += static_cast<char>(code);
    } else if (code < 0x800) {
      result += static_cast<char>(0xc0 | code >> 6), tail(0);
    } else if (code < 0x10000) {
      result += static_cast<char>(0xe0 | code >> 12), tail(6), tail(0);
    } else {
      result += static_cast<char>(0xf0 | code >> 18), tail(12), tail(6), tail(0);
    }
  }

  bool word(std::string_view expected) {
    if (text_.substr(at_, expected.size()) != expected) return false;
    at_ += expected.size();
    return true;
  }

  // The next character behind white space, where the parser then stands; 0 at the end.
  char peek() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  char next() {
    if (at_ >= text_.size()) fail();
    return text_[at_];
  }

  int take(char expected) {
    if (next() != expected) fail();
    return 1;
  }

  void expect(char expected) {
    if (peek() != expected) fail();
    ++at_;
  }

  [[noreturn]] void fail() { throw std::runtime_error("not JSON, at byte " + std::to_string(at_)); }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

const Json& Json::at(std::string_view name) const {
  for (const auto& [key, value] : members) {
    if (key == name) return value;
  }
  throw std::runtime_error("there is no \"" + std::string(name) + "\"");
}

Json parse_json(std::string_view text) { return Parser(text).document(); }

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[7];
      std::snprintf(escape, sizeof escape, "\\u%04x", c);
      result += escape;
    } else {
      result += c;
    }
  }
  return result + '"';
}

std::string quoted(const std::vector<std::string>& texts) {
  std::string result = "[";
  for (const std::string& text : texts) {
    if (result.size() > 1) result += ',';
    result += quoted(text);
  }
  return result + ']';
}
