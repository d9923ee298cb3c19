// SPDX-License-Identifier: Apache-2.0
// What a collector produces. From one cycle to the next almost nothing changes but the numbers, so
// everything that is not a number (names, labels, text) lives in a Layout that is built once and shared.
//
//   BatchWriter  mutable, one per collector, lives as long as it: compares what is emitted with what was
//                emitted at the same position last time. Equal: only the double is stored.
//   Layout       immutable: per sample its family, labels and the text before its value, rendered once.
//   Batch        immutable: a Layout, the doubles, when, and how it went.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/metric.h"
#include "core/result.h"

namespace vitald {

// What one sample of a histogram family is. Plain metrics are `value`.
enum class Part : std::uint8_t { value, bucket, sum, count };

// One value and everything about it that does not change.
struct Sample {
  const MetricDesc* family = nullptr;
  Part part = Part::value;
  std::uint16_t label_count = 0;
  std::uint32_t first_label = 0;
  std::uint32_t text_offset = 0, text_size = 0;  // of `name{a="b"} ` in the layout's text
  std::uint32_t value = 0;                       // index into Batch::values
  std::uint64_t fingerprint = 0;                 // of that text: equal for the same series in any layout
};

class Layout {
 public:
  // In the order they were emitted. A series emitted twice is here once (the first).
  [[nodiscard]] std::span<const Sample> samples() const { return samples_; }
  // Sorted by label name, values escaped for nothing: the real text, valid UTF-8.
  [[nodiscard]] std::span<const Label> labels(const Sample& s) const {
    return std::span(labels_).subspan(s.first_label, s.label_count);
  }
  // `node_cpu_seconds_total{cpu="0",mode="idle"} ` - the exposition line up to the value.
  [[nodiscard]] std::string_view prefix(const Sample& s) const {
    return std::string_view(text_).substr(s.text_offset, s.text_size);
  }
  // The sample's own name: the family's, with _bucket, _sum or _count for the parts of a histogram.
  [[nodiscard]] std::string_view name(const Sample& s) const;
  [[nodiscard]] std::size_t value_count() const { return value_count_; }
  // Series emitted more than once, as exposition text; empty is normal.
  [[nodiscard]] std::span<const std::string> duplicates() const { return duplicates_; }

 private:
  friend class LayoutBuilder;
  std::vector<Sample> samples_;
  std::vector<Label> labels_;
  std::string arena_;  // label names and values
  std::string text_;
  std::size_t value_count_ = 0;
  std::vector<std::string> duplicates_;
  std::vector<std::shared_ptr<const void>> pools_;
};

struct Health {
  bool ok = true;
  std::optional<Error> error;   // why `ok` is false
  std::vector<Error> problems;  // single items that failed while the rest is good
  std::int64_t wall_ns = 0;     // how long collect() took
  std::int64_t cpu_ns = 0;      // CPU time of the thread that ran it
};

struct Batch {
  std::string collector;
  std::shared_ptr<const Layout> layout;
  std::vector<double> values;
  std::int64_t collected_boot_ns = 0;
  Health health;
};
using BatchPtr = std::shared_ptr<const Batch>;

// Counts per bucket, not cumulative; counts.size() == bounds.size() + 1, the last is (bounds.back(), +Inf].
// It becomes the classic samples (cumulative buckets with `le`, sum, count), contiguous in Batch::values.
struct HistogramView {
  std::span<const double> bounds;
  std::span<const std::uint64_t> counts;
  double sum = 0;
};

// Not thread-safe: one writer belongs to one collector and is used by the thread that runs it.
class BatchWriter {
 public:
  explicit BatchWriter(std::string collector) : collector_(std::move(collector)) {}

  // Emits one series. `label_values` (anything that converts to string_view) are as many as desc.labels
  // names, in that order. Emit in the same order every time: that is what makes it cheap.
  // `desc` must live as long as the program, or be from a pool given to use().
  template <class... V>
  void set(const MetricDesc& desc, double value, const V&... label_values) {
    static_assert((std::is_convertible_v<const V&, std::string_view> && ...),
                  "label values are text; for numbers use Decimal(n)");
    if constexpr (sizeof...(V) == 0) {
      put(desc, {}, value);
    } else {
      const std::string_view values[] = {std::string_view(label_values)...};
      put(desc, values, value);
    }
  }
  // For label values counted at run time.
  void set_values(const MetricDesc& desc, double value, std::span<const std::string_view> label_values) {
    put(desc, label_values, value);
  }
  // For series that bring their own label names (textfile, info metrics that leave out empty labels).
  // Samples of a histogram or summary that was made elsewhere name their part (`le` and `quantile` are
  // labels then) and come in the order of the text format: buckets or quantiles, sum, count.
  void set_labels(const MetricDesc& desc, double value, std::span<const Label> labels, Part part = Part::value);

  template <class... V>
  void histogram(const MetricDesc& desc, const HistogramView& h, const V&... label_values) {
    const std::string_view values[sizeof...(V) + 1] = {std::string_view(label_values)...};
    put_histogram(desc, h, std::span(values).first(sizeof...(V)));
  }

  void histogram_values(const MetricDesc& desc, const HistogramView& h,
                        std::span<const std::string_view> label_values) {
    put_histogram(desc, h, label_values);
  }

  // One item (a device, a mount, a zone) failed; the batch stays good without it.
  void problem(Error error) { problems_.push_back(std::move(error)); }
  // Keeps run-time descriptors alive as long as any layout built in this run. Call it in every run.
  void use(const DescPoolPtr& pool);

  // The runner's side: begin(), then the collector's collect(), then finish().
  void begin(std::int64_t boot_ns);
  [[nodiscard]] BatchPtr finish(const Result<>& outcome, std::int64_t wall_ns, std::int64_t cpu_ns);
  [[nodiscard]] const std::string& collector() const { return collector_; }

 private:
  friend class LayoutBuilder;
  // The last four follow the order of Part.
  enum class Kind : std::uint8_t { values, histogram, labels, labels_bucket, labels_sum, labels_count };
  // One call of set/set_labels/histogram; its label values lie in keys_ as (u32 size, bytes)*.
  struct Emit {
    const MetricDesc* desc = nullptr;
    std::uint32_t key_offset = 0;
    std::uint16_t key_parts = 0;
    Kind kind = Kind::values;
    std::uint32_t value_count = 1;
  };

  void put(const MetricDesc& desc, std::span<const std::string_view> key, double value) {
    place(desc, Kind::values, key, 1);
    values_.push_back(value);
  }
  void put_histogram(const MetricDesc& desc, const HistogramView& h, std::span<const std::string_view> key);
  // Either the next emit of the previous run is this one, or the layout changes from here on.
  void place(const MetricDesc& desc, Kind kind, std::span<const std::string_view> key, std::uint32_t value_count) {
    if (!changed_ && next_ < emits_.size() && same(emits_[next_], desc, kind, key, value_count)) {
      ++next_;
      return;
    }
    diverge(desc, kind, key, value_count);
  }
  bool same(const Emit& e, const MetricDesc& desc, Kind kind, std::span<const std::string_view> key,
            std::uint32_t value_count) const {
    if (e.desc != &desc || e.key_parts != key.size() || e.kind != kind || e.value_count != value_count) return false;
    const char* at = keys_.data() + e.key_offset;
    for (const auto part : key) {
      std::uint32_t size;
      std::memcpy(&size, at, sizeof size);
      if (size != part.size() || (size != 0 && std::memcmp(at + sizeof size, part.data(), size) != 0)) return false;
      at += sizeof size + size;
    }
    return true;
  }
  void diverge(const MetricDesc& desc, Kind kind, std::span<const std::string_view> key, std::uint32_t value_count);

  std::string collector_;
  std::shared_ptr<const Layout> layout_;
  std::vector<Emit> emits_;
  std::string keys_;
  std::size_t next_ = 0;
  bool changed_ = true;
  std::vector<double> values_;
  std::size_t values_expected_ = 0;
  std::vector<Error> problems_;
  std::vector<std::shared_ptr<const void>> pools_;
  std::int64_t boot_ns_ = 0;
};

}  // namespace vitald
