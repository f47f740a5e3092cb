#include "state_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <bit>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string_view>

#include "json.h"

static_assert(std::endian::native == std::endian::little, "safetensors files are little endian");

namespace {

constexpr std::string_view kFormat = "tinytl-state-1";
constexpr std::string_view kMark = "tinytl_crc32=";
constexpr std::string_view kZeros = "00000000";
constexpr std::string_view kBest = "@best/";  // tensors of an unfinished fit in Python, of no use here

uint32_t crc32(uint32_t crc, std::string_view bytes) {
  crc = ~crc;
  for (const unsigned char byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}

// Of the whole content, with the checksum's own digits as zeros.
std::string checksum(std::string_view content, size_t digits) {
  const uint32_t head = crc32(crc32(0, content.substr(0, digits)), kZeros);
  char text[9];
  std::snprintf(text, sizeof text, "%08x", crc32(head, content.substr(digits + kZeros.size())));
  return text;
}

State parse(std::string_view content) {
  uint64_t length = 0;
  std::memcpy(&length, content.data(), sizeof length);
  if (length > content.size() - 8) throw std::runtime_error("its header is cut off");
  const Json header = parse_json(content.substr(8, length));
  const std::string_view data = content.substr(8 + length);
  const Json& metadata = header.at("__metadata__");
  if (metadata.at("format").string != kFormat) throw std::runtime_error("expected format " + std::string(kFormat));

  State state;
  state.fingerprint = metadata.at("fingerprint").string;
  state.step = std::stoll(metadata.at("step").string);
  if (const Json names = parse_json(metadata.at("class_names").string); names.kind == Json::Kind::kArray) {
    state.class_names.emplace();
    for (const Json& name : names.items) state.class_names->push_back(name.string);
  }
  for (const auto& [name, entry] : header.members) {
    if (name == "__metadata__" || name.starts_with(kBest)) continue;
    State::Tensor& tensor = state.tensors[name];
    tensor.dtype = entry.at("dtype").string;
    for (const Json& size : entry.at("shape").items) tensor.shape.push_back(static_cast<int>(size.number));
    const auto& offsets = entry.at("data_offsets").items;
    const double begin = offsets.at(0).number, end = offsets.at(1).number;
    if (!(0 <= begin && begin <= end && end <= data.size())) throw std::runtime_error(name + " is cut off");
    tensor.data = data.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  }
  return state;
}

std::string serialize(const State& state) {
  std::ostringstream header, data;
  header << R"({"__metadata__":{"format":)" << quoted(kFormat) << R"(,"fingerprint":)" << quoted(state.fingerprint)
         << R"(,"step":")" << state.step << R"(","crc32":")" << kMark << kZeros << R"(","class_names":)"
         << quoted(state.class_names ? quoted(*state.class_names) : "null") << R"(,"progress":"null"})";
  for (const auto& [name, tensor] : state.tensors) {
    header << ',' << quoted(name) << R"(:{"dtype":)" << quoted(tensor.dtype) << R"(,"shape":[)";
    for (size_t axis = 0; axis < tensor.shape.size(); ++axis) header << (axis ? "," : "") << tensor.shape[axis];
    header << R"(],"data_offsets":[)" << data.tellp() << ',';
    data << tensor.data;
    header << data.tellp() << "]}";
  }
  header << '}';
  std::string json = header.str();
  json.append(-json.size() % 8, ' ');  // the tensors begin at a multiple of 8
  const uint64_t length = json.size();
  std::string content(reinterpret_cast<const char*>(&length), sizeof length);
  content += json + data.str();
  const size_t digits = content.find(kMark) + kMark.size();
  return content.replace(digits, kZeros.size(), checksum(content, digits));
}

// Makes a new name in it survive a power cut, where the file system can.
void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY);
  if (descriptor < 0) return;
  fsync(descriptor);
  close(descriptor);
}

}  // namespace

State read_state(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string content(std::istreambuf_iterator<char>(file), {});
  if (!file) throw std::runtime_error(path.string() + " cannot be read");
  const size_t mark = content.find(kMark);
  const size_t digits = mark + kMark.size();
  if (mark == std::string::npos || content.size() < digits + kZeros.size() ||
      content.substr(digits, kZeros.size()) != checksum(content, digits)) {
    throw std::runtime_error(path.string() + " is truncated, damaged or no state: its CRC-32 does not agree");
  }
  try {
    return parse(content);
  } catch (const std::exception& error) {
    throw std::runtime_error(path.string() + " cannot be used: " + error.what());
  }
}

void write_state(const std::filesystem::path& path, const State& state) {
  const std::string content = serialize(state);
  const std::filesystem::path temporary = path.string() + ".part";
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(temporary.c_str(), "wb"), std::fclose);
  const bool written = file && std::fwrite(content.data(), 1, content.size(), file.get()) == content.size() &&
                       std::fflush(file.get()) == 0 && fsync(fileno(file.get())) == 0;
  file.reset();
  if (!written || std::rename(temporary.c_str(), path.c_str()) != 0) {
    std::remove(temporary.c_str());
    throw std::runtime_error(path.string() + " cannot be written");
  }
  sync_folder(path.has_parent_path() ? path.parent_path() : ".");
}
