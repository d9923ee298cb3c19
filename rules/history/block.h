// SPDX-License-Identifier: Apache-2.0
// 64 samples of one series, packed so that they read back bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace vitald::history {

inline constexpr std::size_t kBlock = 64;

// In a column: this series had no sample at that time. A NaN beside the stale marker, never a real value.
inline constexpr std::uint64_t kNoneBits = 0x7ff0000000000003;

class Block {
 public:
  static Block pack(const double* values);  // kBlock of them
  void unpack(double* values) const;
  [[nodiscard]] bool has_holes() const { return holes_; }
  // Of this object and what it points to.
  [[nodiscard]] std::size_t bytes() const { return sizeof *this + size_; }

 private:
  std::unique_ptr<unsigned char[]> data_;
  double base_ = 0;
  std::uint16_t size_ = 0;   // of data_
  std::uint16_t scale_ = 1;  // values are integers / scale
  std::uint8_t width_ = 0;   // bytes per difference to the previous one: 0, 1, 2, 4; 8: plain doubles
  std::uint8_t shift_ = 0;   // all differences are multiples of 2^shift
  bool holes_ = false;       // data_ begins with two bit masks: no sample, stale
};

}  // namespace vitald::history
