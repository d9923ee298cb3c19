// SPDX-License-Identifier: Apache-2.0
// Numbers and texts in files of ours: little endian, and read with a look at where the bytes end.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace vitald {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they are");

template <class T>
void put_number(std::string& out, T number) {
  char bytes[sizeof number];
  std::memcpy(bytes, &number, sizeof number);
  out.append(bytes, sizeof number);
}

template <class T>
std::optional<T> take_number(std::string_view& in) {
  if (in.size() < sizeof(T)) return std::nullopt;
  T number;
  std::memcpy(&number, in.data(), sizeof number);
  in.remove_prefix(sizeof number);
  return number;
}

inline void put_text(std::string& out, std::string_view text) {
  put_number(out, static_cast<std::uint32_t>(text.size()));
  out += text;
}

inline std::optional<std::string_view> take_text(std::string_view& in) {
  const auto size = take_number<std::uint32_t>(in);
  if (!size || *size > in.size()) return std::nullopt;
  const auto text = in.substr(0, *size);
  in.remove_prefix(*size);
  return text;
}

// For a record of many fields: once something is missing, all that follows is empty and good() is false.
class Taker {
 public:
  explicit Taker(std::string_view in) : in_(in) {}

  template <class T>
  T number() {
    const auto n = take_number<T>(in_);
    good_ = good_ && n;
    return n.value_or(T{});
  }
  std::string_view text() {
    const auto t = take_text(in_);
    good_ = good_ && t;
    return t.value_or(std::string_view());
  }
  std::string_view bytes(std::size_t count) {
    if (count > in_.size()) return good_ = false, std::string_view();
    const auto taken = in_.substr(0, count);
    in_.remove_prefix(count);
    return taken;
  }
  // How many records follow, each of `least` bytes or more: a number that cannot be is none.
  std::size_t count(std::size_t least) {
    const auto n = number<std::uint32_t>();
    if (n <= in_.size() / least) return n;
    return good_ = false, 0;
  }

  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] bool ended() const { return good_ && in_.empty(); }
  [[nodiscard]] std::string_view rest() const { return in_; }

 private:
  std::string_view in_;
  bool good_ = true;
};

}  // namespace vitald
