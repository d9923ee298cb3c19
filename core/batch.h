// SPDX-License-Identifier: Apache-2.0
// What a collector produces. From one cycle to the next almost nothing changes but the numbers, so
// everything that is not a number (names, labels, text) lives in a Layout that is built once and shared.
//
//   BatchWriter  mutable, one per collector, lives as long as it: compares what is emitted with what was
//                emitted at the same position last time. Equal: only the double is stored. Where something came or
//                went it finds the place from which on it is the same again, so only that is made anew.
//   Layout       immutable: per sample its family, labels and the text before its value, rendered once.
//   Batch        immutable: a Layout, the doubles, what happened, when, and how it went.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/event.h"
#include "core/layout.h"
#include "core/metric.h"
#include "core/result.h"

namespace vitald {

struct Health {
  bool ok = true;
  std::optional<Error> error;   // why `ok` is false
  std::vector<Error> problems;  // single items that failed while the rest is good
  std::int64_t wall_ns = 0;     // how long collect() took
  std::int64_t cpu_ns = 0;      // CPU time of the thread that ran it
};

// One of the observations in a bucket of a histogram: when it was and whose.
struct Exemplar {
  // OpenMetrics: characters of all names and values together.
  static constexpr std::size_t kMostCharacters = 128;

  std::uint32_t at = 0;  // of a Batch: index of the bucket in its values; of a HistogramView: number of the bucket
  double value = 0;
  std::int64_t wall_ms = 0;  // of the event
  // In a Batch they may leave as they are: valid UTF-8 within kMostCharacters. The writer leaves out what has no room,
  // so the most telling ones come first.
  std::vector<std::pair<std::string, std::string>> labels;
};

struct Batch {
  std::string collector;
  std::shared_ptr<const Layout> layout;
  std::vector<double> values;
  std::vector<Exemplar> exemplars;  // ascending by `at`, at most one each
  std::vector<EventPtr> events;
  std::uint64_t events_left_out = 0;  // beyond kMaxEvents
  std::int64_t collected_boot_ns = 0;
  Health health;
  static constexpr std::size_t kMaxEvents = 256;
};
using BatchPtr = std::shared_ptr<const Batch>;

// Counts per bucket, not cumulative; counts.size() == bounds.size() + 1, the last is (bounds.back(), +Inf].
// It becomes the classic samples (cumulative buckets with `le`, sum, count), contiguous in Batch::values.
struct HistogramView {
  std::span<const double> bounds;
  std::span<const std::uint64_t> counts;
  double sum = 0;
  // Ascending by bucket, at most one each. One that is not in its bucket is left out and told.
  std::span<const Exemplar> exemplars = {};
};

// The labels of rows that are emitted in every cycle, made ready once: to compare them with those of the cycle before
// is one comparison of bytes. Holds copies.
class PackedLabels {
 public:
  PackedLabels() = default;
  explicit PackedLabels(std::span<const Label> labels);

 private:
  friend class BatchWriter;
  std::string key_;  // as in BatchWriter's keys
  std::uint16_t parts_ = 0;
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
  // The same series as set_labels() makes of them, `first` before `labels`.
  void set_packed(const MetricDesc& desc, double value, const PackedLabels& first, const PackedLabels& labels) {
    if (in_step_ && next_ < emits_.size() && same(emits_[next_], desc, first, labels)) ++next_;
    else unpack(desc, first, labels);
    values_.push_back(value);
  }
  void set_packed(const MetricDesc& desc, double value, const PackedLabels& labels) {
    set_packed(desc, value, {}, labels);
  }

  template <class... V>
  void histogram(const MetricDesc& desc, const HistogramView& h, const V&... label_values) {
    const std::string_view values[sizeof...(V) + 1] = {std::string_view(label_values)...};
    put_histogram(desc, h, std::span(values).first(sizeof...(V)), Kind::histogram);
  }

  void histogram_values(const MetricDesc& desc, const HistogramView& h,
                        std::span<const std::string_view> label_values) {
    put_histogram(desc, h, label_values, Kind::histogram);
  }

  // A histogram that brings its own label names.
  void histogram_labels(const MetricDesc& desc, const HistogramView& h, std::span<const Label> labels);

  // Something happened. Beyond Batch::kMaxEvents in one run they are only counted.
  void event(Event e);

  // One item (a device, a mount, a zone) failed; the batch stays good without it.
  void problem(Error error) { problems_.push_back(std::move(error)); }
  // Keeps run-time descriptors alive as long as any layout built in this run. Call it in every run.
  void use(const DescPoolPtr& pool);

  // Series that are new in this run count since then, until the next call; 0: since this run.
  void since(std::int64_t wall_ms) { since_wall_ms_ = wall_ms; }

  // The runner's side: begin(), then the collector's collect(), then finish(). Without the wall clock's time the
  // layouts do not know since when their series count.
  void begin(std::int64_t boot_ns, std::int64_t wall_ns = 0);
  [[nodiscard]] BatchPtr finish(const Result<>& outcome, std::int64_t wall_ns, std::int64_t cpu_ns);
  [[nodiscard]] const std::string& collector() const { return collector_; }

 private:
  friend class LayoutBuilder;
  // The last four follow the order of Part.
  enum class Kind : std::uint8_t {
    values,
    histogram,
    labels_histogram,
    labels,
    labels_bucket,
    labels_sum,
    labels_count
  };
  // One call of set/set_labels/histogram; its label values lie in keys_ as (u32 size, bytes)*.
  struct Emit {
    const MetricDesc* desc = nullptr;
    std::uint32_t key_offset = 0, key_size = 0;
    std::uint32_t value_count = 1;
    std::uint16_t key_parts = 0;
    Kind kind = Kind::values;
  };
  static_assert(sizeof(Emit) == 24);
  // Emits [old, old + gone) of the run before are not in this one; [fresh, fresh + come) of fresh_ stand there.
  struct Change {
    std::size_t old = 0, gone = 0, fresh = 0, come = 0;
    std::size_t value = 0;  // how many values this run had before it
  };

  void put(const MetricDesc& desc, std::span<const std::string_view> key, double value) {
    place(desc, Kind::values, key, 1);
    values_.push_back(value);
  }
  void put_exemplars(const MetricDesc& desc, const HistogramView& h);
  void put_histogram(const MetricDesc& desc, const HistogramView& h, std::span<const std::string_view> key, Kind kind);
  // Either the next emit of the previous run is this one, or the layout changes here.
  void place(const MetricDesc& desc, Kind kind, std::span<const std::string_view> key, std::uint32_t value_count) {
    if (in_step_ && next_ < emits_.size() && same(emits_[next_], desc, kind, key, value_count)) {
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
  bool same(const Emit& e, const MetricDesc& desc, const PackedLabels& first, const PackedLabels& labels) const {
    if (e.desc != &desc || e.key_size != first.key_.size() + labels.key_.size() || e.kind != Kind::labels) return false;
    const char* at = keys_.data() + e.key_offset;
    return std::memcmp(at, first.key_.data(), first.key_.size()) == 0 &&
           std::memcmp(at + first.key_.size(), labels.key_.data(), labels.key_.size()) == 0;
  }
  void unpack(const MetricDesc& desc, const PackedLabels& first, const PackedLabels& labels);
  void diverge(const MetricDesc& desc, Kind kind, std::span<const std::string_view> key, std::uint32_t value_count);
  [[nodiscard]] bool go_on_at(const MetricDesc& desc, Kind kind, std::span<const std::string_view> key,
                              std::uint32_t value_count, std::size_t look);
  [[nodiscard]] bool some_counter_fell() const;
  void take_spare();

  std::string collector_;
  std::shared_ptr<const Layout> layout_;
  std::shared_ptr<LayoutStore> store_;  // the layout's, to add to
  std::shared_ptr<Batch> last_;         // what finish() gave; its values tell which counters fell
  // The one before: where all readers have let go of it by the next run, that is written into its memory.
  std::shared_ptr<Batch> spare_;
  std::vector<Emit> emits_, spare_emits_;
  std::string keys_;
  std::size_t keys_out_of_use_ = 0, store_out_of_use_ = 0;         // bytes
  std::unordered_map<const MetricDesc*, std::uint32_t> families_;  // of the layout, with how many samples
  // Of this run.
  std::size_t next_ = 0;   // in emits_
  bool in_step_ = true;    // next_ follows what was emitted last
  std::size_t looks_ = 0;  // how many more emits are looked at in search of the place to go on
  std::vector<Change> changes_;
  std::vector<Emit> fresh_;
  std::vector<std::int64_t> fresh_since_;  // beside fresh_, once since() was called
  std::int64_t since_wall_ms_ = 0;
  std::vector<double> values_;
  std::size_t values_expected_ = 0;
  std::vector<Exemplar> exemplars_;
  std::vector<EventPtr> events_;
  std::uint64_t events_left_out_ = 0;
  std::vector<Error> problems_;
  std::vector<std::shared_ptr<const void>> pools_;
  std::int64_t boot_ns_ = 0, wall_ns_ = 0;
};

}  // namespace vitald
