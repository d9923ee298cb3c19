// SPDX-License-Identifier: Apache-2.0
//
// A block is: one byte, Kind and the two flags; 8 bytes per flag, a bit per value; then by kind
//   whole    scale and order (a byte), first value (varint); unless constant: shift and width (a byte each), least
//            difference (varint), of order 2 the first difference (varint) before it; the rest in `width` bits each
//   changed  the first value, 8 bytes; per value what differs from the one before, in bits
//   plain    8 bytes per value
#include "rules/history/block.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace vitald::history {

namespace {

enum Kind : std::uint8_t { whole, changed, plain };
constexpr std::uint8_t kKindMask = 0x0f, kHasNone = 0x10, kHasStale = 0x20;

std::uint64_t bits(double v) { return std::bit_cast<std::uint64_t>(v); }

// Values are whole numbers of 1/scale: seconds in ticks, milliseconds, microseconds, nanoseconds; percentages.
constexpr double kScales[] = {1, 100, 10, 1000, 1e6, 1e9};

// v * scale as an integer that divides back to exactly v.
bool to_whole(double v, double scale, std::int64_t& out) {
  const double scaled = v * scale;
  if (!(std::abs(scaled) < 9007199254740992.0)) return false;  // 2^53; also NaN and infinities
  out = static_cast<std::int64_t>(scaled + (scaled < 0 ? -0.5 : 0.5));
  return bits(static_cast<double>(out) / scale) == bits(v);
}

std::uint64_t zigzag(std::int64_t v) {
  return (static_cast<std::uint64_t>(v) << 1) ^ static_cast<std::uint64_t>(v >> 63);
}
std::int64_t unzigzag(std::uint64_t v) { return static_cast<std::int64_t>(v >> 1) ^ -static_cast<std::int64_t>(v & 1); }

void put_varint(std::int64_t value, std::vector<std::uint8_t>& out) {
  auto v = zigzag(value);
  for (; v >= 0x80; v >>= 7) out.push_back(static_cast<std::uint8_t>(v | 0x80));
  out.push_back(static_cast<std::uint8_t>(v));
}
std::int64_t get_varint(const std::uint8_t*& at) {
  std::uint64_t v = 0;
  for (unsigned shift = 0;; shift += 7) {
    const std::uint8_t byte = *at++;
    v |= std::uint64_t{byte & 0x7fU} << shift;
    if (byte < 0x80) return unzigzag(v);
  }
}

void put_raw(std::uint64_t v, std::vector<std::uint8_t>& out) {
  const auto size = out.size();
  out.resize(size + sizeof v);
  std::memcpy(out.data() + size, &v, sizeof v);
}
std::uint64_t get_raw(const std::uint8_t*& at) {
  std::uint64_t v;
  std::memcpy(&v, at, sizeof v);
  at += sizeof v;
  return v;
}

class BitWriter {
 public:
  explicit BitWriter(std::vector<std::uint8_t>& out) : out_(out) {}
  void put(std::uint64_t v, unsigned width) {
    if (width > 32) {
      put(v & UINT32_MAX, 32);
      return put(v >> 32, width - 32);
    }
    bits_ |= v << used_;
    for (used_ += width; used_ >= 8; used_ -= 8, bits_ >>= 8) out_.push_back(static_cast<std::uint8_t>(bits_));
  }
  void flush() {
    if (used_ > 0) out_.push_back(static_cast<std::uint8_t>(bits_));
    bits_ = 0;
    used_ = 0;
  }

 private:
  std::vector<std::uint8_t>& out_;
  std::uint64_t bits_ = 0;
  unsigned used_ = 0;  // below 8 between two calls
};

class BitReader {
 public:
  explicit BitReader(const std::uint8_t* at) : at_(at) {}
  std::uint64_t get(unsigned width) {
    std::uint64_t v = 0;
    unsigned got = 0;
    while (got < width) {
      if (left_ == 0) {
        byte_ = *at_++;
        left_ = 8;
      }
      const unsigned n = std::min(width - got, left_);
      v |= std::uint64_t{byte_ & ((1U << n) - 1)} << got;
      byte_ = static_cast<std::uint8_t>(byte_ >> n);
      left_ -= n;
      got += n;
    }
    return v;
  }
  [[nodiscard]] const std::uint8_t* end() const { return at_; }

 private:
  const std::uint8_t* at_;
  unsigned byte_ = 0, left_ = 0;
};

// Differences above the least of them, which are multiples of 2^shift.
struct Steps {
  std::int64_t least = 0;
  unsigned shift = 0, width = 0;
};
Steps measure(const std::int64_t* steps, std::size_t count) {
  std::int64_t least = steps[0], most = steps[0];
  std::uint64_t any = 0;
  for (std::size_t i = 1; i < count; ++i) {
    least = std::min(least, steps[i]);
    most = std::max(most, steps[i]);
    any |= static_cast<std::uint64_t>(steps[i] - steps[0]);
  }
  Steps s{least, any == 0 ? 0 : static_cast<unsigned>(std::countr_zero(any)), 0};
  s.width = static_cast<unsigned>(std::bit_width(static_cast<std::uint64_t>(most - least) >> s.shift));
  return s;
}

bool pack_whole(const double* values, std::size_t count, std::vector<std::uint8_t>& out) {
  std::int64_t n[kBlock];
  std::uint8_t scale = 0;
  // One that does not change is as good as one value.
  const bool constant = count < 2 || std::memcmp(values, values + 1, (count - 1) * sizeof(double)) == 0;
  const auto distinct = constant ? 1 : count;
  for (; scale < std::size(kScales); ++scale) {
    std::size_t i = 0;
    while (i < distinct && to_whole(values[i], kScales[scale], n[i])) ++i;
    if (i == distinct) break;
  }
  if (scale == std::size(kScales)) return false;
  if (constant) {
    out.push_back(scale);
    put_varint(n[0], out);
    return true;
  }
  std::int64_t first[kBlock], second[kBlock];
  for (std::size_t i = 1; i < count; ++i) first[i - 1] = n[i] - n[i - 1];
  auto steps = measure(first, count - 1);
  unsigned order = 1;
  // What grows faster and faster, or evenly: the differences of the differences may be smaller.
  if (count > 2) {
    for (std::size_t i = 1; i < count - 1; ++i) second[i - 1] = first[i] - first[i - 1];
    const auto again = measure(second, count - 2);
    if (again.width < steps.width) {
      order = 2;
      steps = again;
    }
  }
  out.push_back(static_cast<std::uint8_t>(scale | order << 4));
  put_varint(n[0], out);
  if (order == 2) put_varint(first[0], out);
  out.push_back(static_cast<std::uint8_t>(steps.shift));
  out.push_back(static_cast<std::uint8_t>(steps.width));
  put_varint(steps.least, out);
  if (steps.width == 0) return true;
  BitWriter w(out);
  const auto* from = order == 1 ? first : second;
  for (std::size_t i = 0; i < count - order; ++i)
    w.put(static_cast<std::uint64_t>(from[i] - steps.least) >> steps.shift, steps.width);
  w.flush();
  return true;
}

// `width` bits each, lowest first, from bytes that go on for at least 8 more: one load per number.
class Numbers {
 public:
  Numbers(const std::uint8_t* at, unsigned width) : at_(at), width_(width), mask_((std::uint64_t{1} << width) - 1) {}
  std::uint64_t get(std::size_t i) const {
    const auto bit = i * width_;
    std::uint64_t v;
    std::memcpy(&v, at_ + bit / 8, sizeof v);
    return v >> (bit % 8) & mask_;
  }

 private:
  const std::uint8_t* at_;
  unsigned width_;
  std::uint64_t mask_;
};

const std::uint8_t* unpack_whole(const std::uint8_t* at, std::size_t count, double* values) {
  const auto head = *at++;
  const double scale = kScales[head & 0x0f];
  // Sums are unsigned: those of a file may overflow.
  const auto take = [&at] { return static_cast<std::uint64_t>(get_varint(at)); };
  const auto number = [](std::uint64_t v) { return static_cast<double>(static_cast<std::int64_t>(v)); };
  auto n = take();
  const unsigned order = head >> 4;
  values[0] = number(n) / scale;
  if (order == 0) {
    std::fill_n(values + 1, count - 1, values[0]);
    return at;
  }
  std::uint64_t step = order == 2 ? take() : 0;
  const unsigned shift = *at++, width = *at++;
  const auto least = take();
  if (order == 2) values[1] = number(n += step);
  const std::size_t packed = count - order;
  std::uint64_t deltas[kBlock];
  if (width == 0) {
    std::fill_n(deltas, packed, least);
  } else if (width <= 56) {
    const Numbers numbers(at, width);
    for (std::size_t i = 0; i < packed; ++i) deltas[i] = least + (numbers.get(i) << shift);
  } else {
    BitReader r(at);
    for (std::size_t i = 0; i < packed; ++i) deltas[i] = least + (r.get(width) << shift);
  }
  at += (packed * width + 7) / 8;
  if (order == 2)
    for (std::size_t i = 0; i < packed; ++i) deltas[i] = step += deltas[i];
  for (std::size_t i = 0; i < packed; ++i) values[order + i] = number(n += deltas[i]);
  if (head % 16 != 0)
    for (std::size_t i = 1; i < count; ++i) values[i] /= scale;
  return at;
}

// Per value: 0, the same; 10, the bits that differ lie where the last ones did; 11, leading zeros (6 bits), how many
// bits less one (6 bits), the bits.
bool pack_changed(const double* values, std::size_t count, std::vector<std::uint8_t>& out) {
  const auto begin = out.size();
  put_raw(bits(values[0]), out);
  BitWriter w(out);
  unsigned leading = 64, size = 0;
  for (std::size_t i = 1; i < count; ++i) {
    const auto x = bits(values[i]) ^ bits(values[i - 1]);
    if (x == 0) {
      w.put(0, 1);
      continue;
    }
    const auto l = static_cast<unsigned>(std::countl_zero(x)), t = static_cast<unsigned>(std::countr_zero(x));
    if (size > 0 && l >= leading && t >= 64 - leading - size) {
      w.put(0b01, 2);
    } else {
      leading = l;
      size = 64 - l - t;
      w.put(0b11, 2);
      w.put(leading, 6);
      w.put(size - 1, 6);
    }
    w.put(x >> (64 - leading - size), size);
  }
  w.flush();
  if (out.size() - begin < count * sizeof(double)) return true;
  out.resize(begin);
  return false;
}

const std::uint8_t* unpack_changed(const std::uint8_t* at, std::size_t count, double* values) {
  auto v = get_raw(at);
  values[0] = std::bit_cast<double>(v);
  BitReader r(at);
  unsigned leading = 0, size = 0;
  for (std::size_t i = 1; i < count; ++i) {
    if (r.get(1) != 0) {
      if (r.get(1) != 0) {
        leading = static_cast<unsigned>(r.get(6));
        size = static_cast<unsigned>(r.get(6)) + 1;
      }
      v ^= r.get(size) << (64 - leading - size);
    }
    values[i] = std::bit_cast<double>(v);
  }
  return r.end();
}

}  // namespace

void pack(const double* values, std::size_t count, std::vector<std::uint8_t>& out) {
  double filled[kBlock];
  std::uint64_t none = 0, stale = 0;
  for (std::size_t i = 0; i < count; ++i)
    if (is_hole(values[i])) (is_none(values[i]) ? none : stale) |= std::uint64_t{1} << i;
  if ((none | stale) != 0) {
    // A hole is filled with the value before it (or the first one), which costs nothing in the differences.
    double filler = 0;
    for (std::size_t i = count; i-- > 0;)
      if (!is_hole(values[i])) filler = values[i];
    for (std::size_t i = 0; i < count; ++i) filled[i] = filler = is_hole(values[i]) ? filler : values[i];
    values = filled;
  }
  const auto head = out.size();
  out.push_back(static_cast<std::uint8_t>((none ? kHasNone : 0) | (stale ? kHasStale : 0)));
  if (none) put_raw(none, out);
  if (stale) put_raw(stale, out);
  if (pack_whole(values, count, out)) {
    out[head] |= whole;
  } else if (pack_changed(values, count, out)) {
    out[head] |= changed;
  } else {
    out[head] |= plain;
    for (std::size_t i = 0; i < count; ++i) put_raw(bits(values[i]), out);
  }
}

const std::uint8_t* unpack(const std::uint8_t* at, std::size_t count, double* values) {
  const auto head = *at++;
  const auto none = head & kHasNone ? get_raw(at) : 0;
  const auto stale = head & kHasStale ? get_raw(at) : 0;
  switch (head & kKindMask) {
    case whole: at = unpack_whole(at, count, values); break;
    case changed: at = unpack_changed(at, count, values); break;
    default: std::memcpy(values, at, count * sizeof(double)); at += count * sizeof(double);
  }
  for (auto left = none; left != 0; left &= left - 1) values[std::countr_zero(left)] = none_marker();
  for (auto left = stale; left != 0; left &= left - 1) values[std::countr_zero(left)] = promql::stale_marker();
  return at;
}

namespace {

// Steps over a block as unpack() does, and looks where the bytes end.
class BlockCheck {
 public:
  BlockCheck(const std::uint8_t* at, const std::uint8_t* end, std::size_t count) : at_(at), end_(end), count_(count) {}

  const std::uint8_t* operator()() {
    const auto head = byte();
    std::uint64_t none = head & kHasNone ? raw() : 0, stale = head & kHasStale ? raw() : 0;
    const auto beyond = count_ == kBlock ? 0 : ~std::uint64_t{0} << count_;
    good_ = good_ && (head & ~(kKindMask | kHasNone | kHasStale)) == 0 && (none & stale) == 0 &&
            ((none | stale) & beyond) == 0;
    switch (head & kKindMask) {
      case whole: check_whole(); break;
      case changed: check_changed(); break;
      case plain: skip(count_ * sizeof(double)); break;
      default: good_ = false;
    }
    return good_ ? at_ : nullptr;
  }

 private:
  bool skip(std::size_t bytes) {
    if (!good_ || bytes > static_cast<std::size_t>(end_ - at_)) return good_ = false;
    at_ += bytes;
    return true;
  }
  std::uint8_t byte() { return skip(1) ? at_[-1] : std::uint8_t{0}; }
  std::uint64_t raw() {
    if (!skip(sizeof(std::uint64_t))) return 0;
    const auto* from = at_ - sizeof(std::uint64_t);
    return get_raw(from);
  }
  void varint() {
    for (int i = 0; i < 9; ++i)
      if (byte() < 0x80) return;
    good_ = byte() <= 1 && good_;  // ten bytes are 70 bits
  }

  void check_whole() {
    const auto head = byte();
    const std::size_t order = head >> 4;
    varint();
    good_ = good_ && (head & 0x0f) < std::size(kScales) && order <= 2 && (order == 0 || order < count_);
    if (!good_ || order == 0) return;
    if (order == 2) varint();
    const unsigned shift = byte(), width = byte();
    varint();
    good_ = good_ && shift < 64 && width + shift <= 64;
    skip(((count_ - order) * width + 7) / 8);
  }

  void check_changed() {
    raw();
    unsigned leading = 0, size = 0;
    for (std::size_t i = 1; i < count_ && good_; ++i) {
      if (take_bits(1) == 0) continue;
      if (take_bits(1) != 0) {
        leading = take_bits(6);
        size = take_bits(6) + 1;
      }
      if (size == 0 || leading + size > 64) good_ = false;
      for (unsigned left = size; left > 0 && good_;) {
        const auto n = std::min(left, 32U);
        take_bits(n);
        left -= n;
      }
    }
  }
  unsigned take_bits(unsigned count) {
    std::uint64_t v = 0;
    for (unsigned i = 0; i < count; ++i) {
      if (left_ == 0) {
        byte_ = byte();
        left_ = 8;
      }
      v |= std::uint64_t{byte_ & 1U} << i;
      byte_ >>= 1;
      --left_;
    }
    return static_cast<unsigned>(v);
  }

  const std::uint8_t *at_, *end_;
  std::size_t count_;
  bool good_ = true;
  unsigned byte_ = 0, left_ = 0;
};

}  // namespace

const std::uint8_t* end_of_block(const std::uint8_t* at, const std::uint8_t* end, std::size_t count) {
  return BlockCheck(at, end, count)();
}

bool has_holes(const std::uint8_t* at) { return (*at & (kHasNone | kHasStale)) != 0; }

}  // namespace vitald::history
