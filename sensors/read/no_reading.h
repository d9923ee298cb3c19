// SPDX-License-Identifier: Apache-2.0
// Drivers and firmware have numbers that say "none" or "not set" where there is no other way to say it. They are no
// readings, and as limits nobody has set they judge nothing.
#pragma once

#include <cerrno>
#include <cstdint>

namespace vitald {

enum class Quantity : std::uint8_t { celsius, rpm, other };

// `v` in the quantity's unit, `units` of the kernel's in one of those (1000 for millidegrees). `limit`: a limit or
// another setting, of which -1 is none; a voltage or a current may well read -1.
constexpr bool is_no_reading(Quantity quantity, double v, double units, bool limit) {
  // Nothing in a computer is that cold or hot, thermocouples of ovens included (type K begins at -200). The cold:
  // cros_ec's -273150 and ACPI's 0 K and 10 K. The hot: NVMe's 65535 K (65261850), garbled registers (3,892,313
  // degrees).
  constexpr double kColdest = -200.1, kHottest = 2000;
  constexpr double kNeverCameRound = 65535;  // a fan's 16-bit counter
  if (v != v) return true;
  const double raw = v * units;
  const auto is = [&](double n) { return raw > n - 0.5 && raw < n + 0.5; };
  // All ones in 64 bits, with and without a sign, and what divisions lost of them.
  constexpr double kMostOf64Bits = 9.2233720368e18;
  if (raw >= kMostOf64Bits || raw <= -kMostOf64Bits) return true;
  if (is(4294967295.0) || is(2147483647.0) || is(-2147483648.0)) return true;
  if (is(-1) && (limit || quantity != Quantity::other)) return true;
  switch (quantity) {
    case Quantity::celsius: return v <= kColdest || v >= kHottest;
    case Quantity::rpm: return v >= kNeverCameRound;
    case Quantity::other: return false;
  }
  return false;
}

// What drivers answer where there is no number now, or never: their sensor is off, asleep or not built in. Others (EIO,
// ETIMEDOUT) mean that a number that should be there cannot be read.
constexpr bool means_no_number(int error) {
  constexpr int kNotSupported = 524;  // ENOTSUPP, the kernel's own
  for (const int none : {EINVAL, ENODATA, EOPNOTSUPP, ENODEV, ENXIO, EAGAIN, EBUSY, ENETDOWN, kNotSupported})
    if (error == none) return true;
  return false;
}

// Sizes in kB that are none: bytes of so many have no 64 bits. The kernel writes a counter of pages that fell below 0
// so (show_val_kb, fs/proc/meminfo.c, shifts it as unsigned).
inline constexpr std::uint64_t kNoSizeKib = std::uint64_t{1} << 54;

}  // namespace vitald
