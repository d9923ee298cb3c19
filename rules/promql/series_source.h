// SPDX-License-Identifier: Apache-2.0
// Where the evaluator gets its numbers. Label sets are resolved once and shared; per evaluation only values
// move.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rules/promql/ast.h"
#include "rules/promql/histogram.h"
#include "rules/promql/labels.h"

namespace vitald::promql {

// A list of label sets that never changes. The same object means the same series: everything that was
// computed from labels alone is kept as long as it comes again.
struct Shape {
  std::vector<Labels> series;
  // Series whose name goes when the evaluation ends, and not before: functions that look at it still see it.
  std::vector<bool> nameless;  // empty: of none
  [[nodiscard]] bool loses_name(std::size_t i) const { return !nameless.empty() && nameless[i]; }
  bool operator==(const Shape&) const = default;
};
using ShapePtr = std::shared_ptr<const Shape>;

struct Point {
  std::int64_t t_ms = 0;
  double value = 0;
  const Histogram* histogram = nullptr;  // in place of the value; the source's own
  std::int64_t start_ms = 0;             // since when a counter counts; 0: not known
};

// The samples of one series in a range, oldest first.
struct Points {
  const std::int64_t* times = nullptr;
  const double* values = nullptr;
  std::size_t count = 0;
  std::int64_t time_offset_ms = 0;               // added to every time
  const Histogram* const* histograms = nullptr;  // null: none among them; else null where the sample is a number
  const std::int64_t* starts = nullptr;          // since when a counter counts, 0: not known; null: of none

  [[nodiscard]] std::int64_t time(std::size_t i) const { return times[i] + time_offset_ms; }
  [[nodiscard]] const Histogram* histogram(std::size_t i) const { return histograms ? histograms[i] : nullptr; }
  [[nodiscard]] std::int64_t start(std::size_t i) const { return starts ? starts[i] : 0; }
};

// A series is there no more: the value Prometheus stores (model/value, StaleNaN).
inline constexpr std::uint64_t kStaleBits = 0x7ff0000000000002;
inline bool is_stale(double v) {
  std::uint64_t bits;
  static_assert(sizeof bits == sizeof v);
  __builtin_memcpy(&bits, &v, sizeof bits);
  return bits == kStaleBits;
}
inline double stale_marker() {
  double v;
  __builtin_memcpy(&v, &kStaleBits, sizeof v);
  return v;
}

struct Selection {
  ShapePtr shape;
  std::vector<std::uint32_t> ids;  // the source's own, one per series of the shape
};

class SeriesSource {
 public:
  // Memory for one series at a time; whoever asks for points owns it.
  struct Buffer {
    std::vector<std::int64_t> times;
    std::vector<double> values;
    std::vector<const Histogram*> histograms;
    std::vector<std::int64_t> starts;
  };

  virtual ~SeriesSource() = default;

  // Once per selector, before anything else. `past_ms`: how far behind the evaluation time it looks; 0: only
  // the newest sample.
  virtual std::uint32_t bind(const Selector& selector, std::int64_t past_ms) = 0;
  // The series that match; valid until the source gets new samples.
  virtual const Selection& select(std::uint32_t handle) = 0;
  // The newest sample in (t - lookback, t]; none when it is a stale marker.
  virtual std::optional<Point> at(std::uint32_t id, std::int64_t t_ms, std::int64_t lookback_ms) = 0;
  // All samples with first <= t <= last, without stale markers. Valid until the next call with this buffer.
  virtual Points range(std::uint32_t id, std::int64_t first_ms, std::int64_t last_ms, Buffer& buffer) = 0;
};

}  // namespace vitald::promql
