// SPDX-License-Identifier: Apache-2.0
// The series of a snapshot as one destination is sent them: with the labels a server would add, those of the
// configuration, and after its relabelling. Where series come or go only those are made or dropped, unless there is
// relabelling; otherwise only the numbers are read.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/alert.h"
#include "core/snapshot.h"
#include "exporters/encode/layouts.h"
#include "exporters/encode/native_histogram.h"
#include "exporters/encode/relabel.h"

namespace vitald {

struct SeriesRow {
  const MetricDesc* family = nullptr;
  std::string_view name;  // of the sample
  std::uint32_t label = 0, label_count = 0;
  std::uint32_t batch = 0, value = 0;  // where its number is in the snapshot; kUp: it is 1
  std::int64_t since_wall_ms = 0;      // since when a counter counts; 0: not known, or no counter
  std::uint64_t key = 0;               // of the series; never leaves this process
  Part part = Part::value;
  std::uint32_t histogram = kNoHistogram;  // which of the table's; `value` is its sum
  static constexpr std::uint32_t kUp = UINT32_MAX, kNoHistogram = UINT32_MAX;
};

// All of a native histogram's samples, which are one row.
struct TableHistogram {
  NativeScheme scheme;
  std::uint32_t batch = 0;
  std::uint32_t first = 0, count = 0;  // its cumulative buckets with +Inf, among those of all histograms
};

// One that was sent and is not there any more.
struct GoneSeries {
  std::string name;
  std::vector<std::pair<std::string, std::string>> labels;  // sorted by name
  std::uint64_t key = 0;
  bool histogram = false;
};

// How the rows of the version before became those of now: those of before but `gone`, in their order, then others.
struct RowChange {
  std::vector<std::uint32_t> gone;  // of the rows before, ascending
  std::uint32_t kept = 0;           // how many stayed; from this one on the rows are new
  [[nodiscard]] std::size_t before() const { return kept + gone.size(); }

  // Calls `keep(first, end)` for each run of rows of before that stayed, in order.
  template <class Keep>
  void each_kept(Keep&& keep) const {
    std::size_t first = 0;
    for (const std::size_t at : gone) {
      if (at > first) keep(first, at);
      first = at + 1;
    }
    if (before() > first) keep(first, before());
  }
};

// Series of a snapshot that a destination is not sent, by why.
struct SeriesLeftOut {
  std::size_t beyond = 0;   // most_series
  std::size_t same = 0;     // relabelling, or what their target has, makes them the same as others
  std::size_t unnamed = 0;  // relabelling gives them a name that the format has no room for
  std::string name;         // one such name
  [[nodiscard]] std::size_t all() const { return beyond + same + unnamed; }
};

// Not thread-safe.
class SeriesTable {
 public:
  struct Settings {
    // What a server adds to what it scrapes (job, instance): a label of the same name becomes exported_NAME, or
    // exported_exported_NAME where that is taken.
    LabelMap target;
    // What is added where the series has no such label.
    LabelMap external;
    std::vector<RelabelRule> relabel;
    std::size_t most_series = SIZE_MAX;  // what is beyond is left out
    bool up = false;                     // with `up`, which a server would make: 1
    bool any_name = false;               // names may be any words on one line, not only [a-zA-Z_:][a-zA-Z0-9_:]*
    bool native = false;                 // histograms whose bounds are those of a native one are one row each
  };
  explicit SeriesTable(Settings settings);
  SeriesTable(const SeriesTable&) = delete;
  SeriesTable& operator=(const SeriesTable&) = delete;

  // Whether the rows are those of this snapshot too.
  [[nodiscard]] bool is_for(const Snapshot& snapshot) const { return have_layouts(snapshot.batches, layouts_); }
  // True: rows changed.
  bool update(const Snapshot& snapshot);
  [[nodiscard]] std::span<const SeriesRow> rows() const { return rows_; }
  // Sorted by name, without the name itself.
  [[nodiscard]] std::span<const Label> labels(const SeriesRow& row) const {
    return std::span(labels_).subspan(row.label, row.label_count);
  }
  // Whether rows may be named otherwise than by their family and part.
  [[nodiscard]] bool relabels() const { return relabel_.has_value(); }
  // Grows with every change.
  [[nodiscard]] std::uint64_t version() const { return version_; }
  // From version() - 1 to version(); null: all rows were made anew.
  [[nodiscard]] const RowChange* change() const { return change_ ? &*change_ : nullptr; }
  // Those that the last update() found gone.
  [[nodiscard]] std::span<const GoneSeries> gone() const { return gone_; }
  // All that there are, as if they were gone: for the end.
  [[nodiscard]] std::vector<GoneSeries> all() const;
  [[nodiscard]] std::span<const TableHistogram> histograms() const { return histograms_; }
  // Its buckets, as indices into its batch's values.
  [[nodiscard]] std::span<const std::uint32_t> bucket_values(const TableHistogram& h) const {
    return std::span(buckets_).subspan(h.first, h.count);
  }
  // Where a histogram's cumulative buckets begin among the values.
  [[nodiscard]] std::size_t buckets_at(const TableHistogram& h) const { return rows_.size() + h.first; }
  // The numbers of the rows, in their order, then the buckets of all histograms. The snapshot is the one of the last
  // update().
  void values(const Snapshot& snapshot, std::vector<double>& out) const;
  [[nodiscard]] const SeriesLeftOut& left_out() const { return left_out_; }

 private:
  struct Relabelled {
    std::string name;
    std::vector<std::pair<std::string, std::string>> labels;
    std::uint64_t key = 0;
    bool kept = false, named = true;
  };
  void build(const Snapshot& snapshot);
  void add_samples(std::uint32_t batch, std::span<const Sample> samples);
  // What the layouts of before became: of each value its index now, and the samples that came.
  struct Moves {
    std::vector<std::vector<std::uint32_t>> now;  // by batch; empty: nothing moved. kGone: it is not there any more
    std::vector<std::pair<std::uint32_t, std::span<const Sample>>> come;
    std::size_t come_count = 0;
  };
  static constexpr std::uint32_t kGone = UINT32_MAX;
  [[nodiscard]] std::optional<Moves> moves(const Snapshot& snapshot) const;
  void follow(const Moves& moves, const Snapshot& snapshot);
  bool add(SeriesRow row, std::span<const Label> own);
  std::size_t add_histogram(std::uint32_t batch, std::span<const Sample> samples);
  void add_labels(std::span<const Label> own);
  void add_renamed_labels(std::span<const Label> own);
  // Whether the series might be called as another one of the target is.
  [[nodiscard]] bool may_be_same(std::span<const Label> own) const;
  enum class Fate : std::uint8_t { kept, dropped, unnamed };
  Fate relabel(SeriesRow& row, std::uint64_t fingerprint);
  [[nodiscard]] GoneSeries copy_of(const SeriesRow& row) const;

  struct Extra {
    std::string name, value;
    bool of_target;  // a series' own label of that name is called otherwise; that of an external one stays in its place
  };
  std::vector<Extra> extra_;  // sorted by name
  LabelMap target_;
  std::set<std::string> own_names_;  // of series some of whose labels are renamed; labels_ points to them
  std::optional<Relabel> relabel_;
  std::size_t most_series_;
  const bool up_, any_name_, native_;
  Layouts layouts_;
  std::vector<SeriesRow> rows_;
  std::vector<Label> labels_;
  std::size_t labels_out_of_use_ = 0;
  std::vector<TableHistogram> histograms_;
  std::vector<std::uint32_t> buckets_;  // of all histograms: indices into their batches' values
  std::vector<GoneSeries> gone_;
  // By the fingerprint of the series before; so long as it is used.
  std::unordered_map<std::uint64_t, std::shared_ptr<const Relabelled>> relabelled_, next_relabelled_;
  std::uint64_t version_ = 0;
  std::optional<RowChange> change_;
  SeriesLeftOut left_out_;
  // Keys of relabelled rows, while they are made, or of those that may be called as others are: two may have become
  // one.
  std::unordered_set<std::uint64_t> there_;
};

}  // namespace vitald
