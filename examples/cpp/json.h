// The little JSON that a state file and a model's info need.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct Json {
  enum class Kind { kNull, kBool, kNumber, kString, kArray, kObject };

  Kind kind = Kind::kNull;
  double number = 0;  // of a number; 0 or 1 of a bool
  std::string string;
  std::vector<Json> items;                             // of an array
  std::vector<std::pair<std::string, Json>> members;  // of an object, in order

  // The member of that name. Throws std::runtime_error if there is none.
  const Json& at(std::string_view name) const;
};

// Throws std::runtime_error if `text`, UTF-8, is not JSON.
Json parse_json(std::string_view text);

// `text` between quotes, with what JSON must escape escaped.
std::string quoted(std::string_view text);

// A JSON array of strings.
std::string quoted(const std::vector<std::string>& texts);
