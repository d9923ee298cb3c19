// SPDX-License-Identifier: Apache-2.0
// Everything about a batch's series that is no number: families, labels, the text before each value. Built when
// something changes, then shared by batches, encoders and history.
//
// Two layouts of one writer that follow each other share what did not change: their samples point to the same
// SeriesInfo. So whoever keeps something per series finds with changes() the few that came or went.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/metric.h"

namespace vitald {

// What one sample of a histogram family is. Plain metrics are `value`.
enum class Part : std::uint8_t { value, bucket, sum, count };

// Of one series; lies in the LayoutStore and never changes nor moves.
struct SeriesInfo {
  const char* text = nullptr;  // `name{a="b"} `
  const Label* labels = nullptr;
  std::uint64_t fingerprint = 0;   // of the text, by std::hash: never leaves this process
  std::int64_t since_wall_ms = 0;  // 0: not known
  std::uint32_t text_size = 0;
  std::uint32_t born = 0;  // generation of the first layout that has this
  std::uint16_t label_count = 0;
  Part part = Part::value;
};

// One value and everything about it that does not change.
struct Sample {
  const MetricDesc* family = nullptr;
  const SeriesInfo* series = nullptr;
  std::uint32_t value = 0;  // index into Batch::values
  Part part = Part::value;
  std::uint16_t hash = 0;  // of the fingerprint: spares the look at it
};
static_assert(sizeof(Sample) == 24);  // copied for every series when one of them comes or goes

// What falls only when it was set back: counters, and the counts of histograms.
inline bool falls_only_at_reset(const MetricDesc& family, Part part) {
  return family.type == MetricType::counter || (family.type == MetricType::histogram && part != Part::sum);
}

// The buckets of histograms. Prometheus' native histograms count the same way: with schema 0 bucket i ends at
// 2^(first + i), with kCustom the bounds are what they are.
struct Bounds {
  static constexpr std::int8_t kCustom = -53;
  std::int8_t schema = kCustom;
  std::int32_t first = 0;
  std::vector<double> upper;  // without +Inf; filled with every schema
  static Bounds of(std::span<const double> upper);
};

// A histogram among the samples: `buckets` cumulative ones (the last is +Inf), then sum, then count.
struct HistogramBlock {
  const MetricDesc* family = nullptr;
  std::uint32_t first_sample = 0, buckets = 0;
  const Bounds* bounds = nullptr;
};

class LayoutStore;

class Layout {
 public:
  // In the order they were emitted. A series emitted twice is here once (the first). Histograms are expanded to
  // their classic samples.
  [[nodiscard]] std::span<const Sample> samples() const { return samples_; }
  // Those of samples() that were emitted as one histogram, in order.
  [[nodiscard]] std::span<const HistogramBlock> histograms() const { return histograms_; }
  // Each family once. Shared by layouts that follow each other while no family comes or goes.
  using Families = std::vector<const MetricDesc*>;
  [[nodiscard]] const std::shared_ptr<const Families>& families() const { return families_; }
  // Sorted by label name, values escaped for nothing: the real text, valid UTF-8.
  [[nodiscard]] static std::span<const Label> labels(const Sample& s) {
    return {s.series->labels, s.series->label_count};
  }
  // `node_cpu_seconds_total{cpu="0",mode="idle"} ` - the exposition line up to the value.
  [[nodiscard]] static std::string_view prefix(const Sample& s) { return {s.series->text, s.series->text_size}; }
  // The sample's own name: the family's, with _bucket, _sum or _count for the parts of a histogram.
  [[nodiscard]] static std::string_view name(const Sample& s);
  // Since when a series counts, milliseconds since the epoch: the first layout that had it, or later a value that
  // fell; for what the kernel counts and was there when the collector started, the machine's boot. 0: not known.
  [[nodiscard]] static std::int64_t since_wall_ms(const Sample& s) { return s.series->since_wall_ms; }
  [[nodiscard]] std::size_t value_count() const { return value_count_; }
  // Series emitted more than once, as exposition text; empty is normal.
  [[nodiscard]] std::span<const std::string> duplicates() const { return duplicates_; }
  // What had to be mended or left out so that the text can be read by others, a sentence each; empty is normal.
  [[nodiscard]] std::span<const std::string> mended() const { return mended_; }

  // Without the samples whose index is in `out` (ascending): for who has to leave some out.
  [[nodiscard]] std::shared_ptr<const Layout> without(std::span<const std::uint32_t> out) const;

 private:
  friend class LayoutBuilder;
  friend struct LayoutChange;
  std::vector<Sample> samples_;
  std::vector<HistogramBlock> histograms_;
  std::shared_ptr<const Families> families_;
  std::size_t value_count_ = 0;
  std::uint32_t generation_ = 0;
  std::vector<std::string> duplicates_, mended_;
  std::shared_ptr<const LayoutStore> store_;
  std::vector<std::shared_ptr<const void>> pools_;
};

// Samples [before, before + gone) of one layout became [after, after + come) of the other.
struct LayoutChange {
  std::uint32_t before = 0, gone = 0, after = 0, come = 0;

  // All changes, in order; everything between them is the same, pair by pair. Nothing when the layouts share no
  // store: then all of it may be different.
  static std::optional<std::vector<LayoutChange>> between(const Layout& before, const Layout& after);
};

}  // namespace vitald
