// SPDX-License-Identifier: Apache-2.0
// Protocol buffers' wire format, written straight to bytes and read back field by field
// (https://protobuf.dev/programming-guides/encoding/).
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace vitald::proto {

enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

constexpr std::size_t varint_size(std::uint64_t v) { return (static_cast<std::size_t>(std::bit_width(v | 1)) + 6) / 7; }
// Returns its end; needs room for ten bytes.
inline char* put_varint(char* at, std::uint64_t v) {
  for (; v >= 0x80; v >>= 7) *at++ = static_cast<char>(v | 0x80);
  *at++ = static_cast<char>(v);
  return at;
}
// With bytes that say nothing more, so that its size does not depend on the number: of 63 bits at most.
inline constexpr std::size_t kPaddedVarint = 9;
inline void put_padded_varint(char* at, std::uint64_t v) {
  for (std::size_t i = 0; i + 1 < kPaddedVarint; ++i, v >>= 7) at[i] = static_cast<char>(v | 0x80);
  at[kPaddedVarint - 1] = static_cast<char>(v & 0x7f);
}
// Of sint32 and sint64.
constexpr std::uint64_t zigzag(std::int64_t v) {
  return static_cast<std::uint64_t>(v) << 1 ^ static_cast<std::uint64_t>(v >> 63);
}
inline char* put_fixed64(char* at, std::uint64_t v) {
  if constexpr (std::endian::native == std::endian::big) v = __builtin_bswap64(v);
  std::memcpy(at, &v, sizeof v);
  return at + sizeof v;
}
inline void append_varint(std::string& out, std::uint64_t v) {
  char text[10];
  out.append(text, static_cast<std::size_t>(put_varint(text, v) - text));
}
inline void append_tag(std::string& out, std::uint32_t field, Wire wire) {
  append_varint(out, field << 3 | static_cast<std::uint32_t>(wire));
}
inline void append_bytes(std::string& out, std::uint32_t field, std::string_view bytes) {
  append_tag(out, field, Wire::bytes);
  append_varint(out, bytes.size());
  out.append(bytes);
}
inline void append_number(std::string& out, std::uint32_t field, std::uint64_t v) {
  append_tag(out, field, Wire::varint);
  append_varint(out, v);
}
inline void append_fixed64(std::string& out, std::uint32_t field, std::uint64_t v) {
  append_tag(out, field, Wire::fixed64);
  char bytes[8];
  put_fixed64(bytes, v);
  out.append(bytes, sizeof bytes);
}
inline void append_double(std::string& out, std::uint32_t field, double v) {
  append_fixed64(out, field, std::bit_cast<std::uint64_t>(v));
}

struct Field {
  std::uint32_t number = 0;
  Wire wire = Wire::varint;
  std::uint64_t value = 0;  // of all but bytes
  std::string_view bytes = {};
  [[nodiscard]] double real() const { return std::bit_cast<double>(value); }
};

// Reads what is given; never beyond its end.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  // False at the end, and where the bytes are no message: then broken().
  bool next(Field& field) {
    if (rest_.empty() || broken_) return false;
    const auto tag = varint();
    field.number = static_cast<std::uint32_t>(tag >> 3);
    field.wire = static_cast<Wire>(tag & 7);
    field.bytes = {};
    if (tag >> 3 == 0 || tag >> 32 != 0) broken_ = true;
    switch (field.wire) {
      case Wire::varint: field.value = varint(); break;
      case Wire::fixed64: field.value = fixed(8); break;
      case Wire::fixed32: field.value = fixed(4); break;
      case Wire::bytes: {
        const auto size = varint();
        if (size > rest_.size()) broken_ = true;
        else field.bytes = rest_.substr(0, size), rest_.remove_prefix(size);
        break;
      }
      default: broken_ = true;
    }
    return !broken_;
  }
  // Packed numbers are read by this until at_end().
  std::uint64_t varint() {
    std::uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) break;
      const auto c = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      v |= static_cast<std::uint64_t>(c & 0x7f) << shift;
      if (c < 0x80) return v;
    }
    broken_ = true;
    return 0;
  }
  [[nodiscard]] bool at_end() const { return rest_.empty() || broken_; }
  [[nodiscard]] bool broken() const { return broken_; }

 private:
  std::uint64_t fixed(std::size_t size) {
    if (rest_.size() < size) return broken_ = true, 0;
    std::uint64_t v = 0;
    for (std::size_t i = 0; i < size; ++i)
      v |= static_cast<std::uint64_t>(static_cast<unsigned char>(rest_[i])) << 8 * i;
    rest_.remove_prefix(size);
    return v;
  }
  std::string_view rest_;
  bool broken_ = false;
};

}  // namespace vitald::proto
