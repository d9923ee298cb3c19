// SPDX-License-Identifier: Apache-2.0
// A fuzzer's bytes, taken piece by piece; zeros when they are used up.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace vitald {

class Input {
 public:
  Input(const unsigned char* data, std::size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  [[nodiscard]] bool empty() const { return rest_.empty(); }
  [[nodiscard]] std::string_view rest() const { return rest_; }
  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const auto b = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return b;
  }
  std::size_t number() {
    const std::size_t low = byte();
    return low + std::size_t{byte()} * 256;
  }
  // As many as the next byte says.
  std::string_view bytes() {
    const auto n = std::min<std::size_t>(byte(), rest_.size());
    const auto taken = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return taken;
  }

 private:
  std::string_view rest_;
};

}  // namespace vitald
