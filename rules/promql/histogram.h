// SPDX-License-Identifier: Apache-2.0
// A native histogram as a value of the language: sparse buckets whose bounds are powers of two, or bounds of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rules/promql/exact_sum.h"

namespace vitald::promql {

// Whether a counter began anew before this sample; `gauge`: it is no counter.
enum class ResetHint : std::uint8_t { unknown, reset, not_reset, gauge };
std::string_view to_string(ResetHint hint);

struct Histogram {
  static constexpr std::int32_t kCustom = -53;  // the schema with bounds of its own
  static constexpr std::int32_t kMinSchema = -4, kMaxSchema = 8;

  struct Bucket {
    std::int32_t index = 0;
    double count = 0;
    bool operator==(const Bucket&) const = default;
  };
  using Buckets = std::vector<Bucket>;  // rising indexes; those that are missing have 0

  // A bucket with its bounds; which of them belong to it shows where it is printed.
  struct Range {
    double lower = 0, upper = 0, count = 0;
    bool lower_inclusive = false, upper_inclusive = false;
    std::int32_t index = 0;
    enum class Side : std::int8_t { negative, zero, positive } side = Side::zero;
  };

  std::int32_t schema = 0;
  ResetHint hint = ResetHint::unknown;
  double count = 0, sum = 0;
  double zero_threshold = 0, zero_count = 0;  // observations in [-threshold, threshold]
  Buckets positive, negative;                 // bucket i: (2^((i-1)/2^schema), 2^(i/2^schema)]; custom: up to custom[i]
  std::vector<double> custom;                 // rising upper bounds; a last bucket goes on to +Inf

  [[nodiscard]] bool is_custom() const { return schema == kCustom; }
  // From the lowest to the highest; those without observations too where they are kept.
  [[nodiscard]] std::vector<Range> ranges() const;
  // The same numbers in the same buckets; the hint does not matter.
  [[nodiscard]] bool same(const Histogram& o) const;
  // About how much memory it takes, in buckets.
  [[nodiscard]] std::size_t size() const { return 8 + positive.size() + negative.size() + custom.size(); }

  void scale(double factor);
  void divide(double by);  // by 0: everything ends in the zero bucket, as Inf or NaN
  void compact();          // drops buckets without observations
  void to_schema(std::int32_t lower);
  // Has a counter begun anew between `before` and this one?
  [[nodiscard]] bool reset_since(const Histogram& before) const;

  [[nodiscard]] double quantile(double q) const;
  [[nodiscard]] double fraction(double lower, double upper) const;
  [[nodiscard]] double variance() const;
  // Without the observations above (below) a value; buckets are cut where it lies, the sum becomes an estimate.
  void trim(double at, bool keep_below);

  // {count:4, sum:5, [-4,-2):1, [-0.001,0.001]:2, (1,2]:1} as Prometheus prints it.
  [[nodiscard]] std::string text() const;
  // {{schema:0 count:4 sum:5 buckets:[1 2 1]}} as test scripts have it.
  [[nodiscard]] std::string notation() const;
};
using HistogramPtr = std::shared_ptr<const Histogram>;

// Upper bound of bucket `index`.
double bucket_bound(std::int32_t index, std::int32_t schema);

// What adding histograms came upon.
struct Reconciled {
  bool resets = false;  // one says that the counter began anew, another that it did not
  bool bounds = false;  // different custom bounds: only those in common are left
};

// Adds up histograms, exactly (exact_sum.h), in the lowest resolution of all and the widest zero bucket.
// Exponential and custom ones do not mix: ask is_custom() of what is in first.
class HistogramSum {
 public:
  explicit HistogramSum(const Histogram& first);
  void add(const Histogram& h, double factor = 1);
  [[nodiscard]] Histogram value() const;
  [[nodiscard]] bool is_custom() const { return layout_.is_custom(); }
  [[nodiscard]] Reconciled reconciled() const { return reconciled_; }

 private:
  struct Slot {
    std::int32_t index = 0;
    ExactSum sum;
  };
  using Slots = std::vector<Slot>;
  void lower_schema(std::int32_t schema);
  void widen_zero(Histogram& other);
  void swallow(double threshold);
  void common_bounds(Histogram& other);
  static void put(Slots& slots, const Histogram::Buckets& buckets, double factor);

  Histogram layout_;  // schema, threshold, bounds and hint; no counts
  ExactSum count_, sum_, zero_;
  Slots positive_, negative_;
  bool seen_reset_ = false, seen_not_reset_ = false;
  Reconciled reconciled_;
};

// a + b or a - b; `reconciled` gets what was found.
Histogram combine(const Histogram& a, const Histogram& b, bool subtract, Reconciled& reconciled);

}  // namespace vitald::promql
