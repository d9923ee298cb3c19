// SPDX-License-Identifier: Apache-2.0
// The past of the series that some rule looks at, in memory, for as long as the rules look back.
//
// All series of a cycle share one timestamp, so time is kept once (the axis) and a series is a column of
// numbers beside it. The newest 64 to 128 samples of a column are plain doubles: the ranges of most rules lie
// in there and are handed out without copying. Older ones are blocks of 64: nothing for a constant, 1, 2 or 4
// bytes per sample for what is an integer (or a decimal with up to three places), 8 for the rest.
//
// The axis is CLOCK_BOOTTIME: a clock that is set does not bend a rate. The evaluator sees wall time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/snapshot.h"
#include "rules/history/block.h"
#include "rules/promql/series_source.h"

namespace vitald {

class History final : public promql::SeriesSource {
 public:
  static constexpr std::uint32_t kNobody = UINT32_MAX;

  struct Settings {
    std::map<std::string, std::string> series_labels = {};  // every series carries them, as a server would add them
    std::size_t limit_bytes = 8 << 20;                      // of all columns; the oldest samples go first
  };
  explicit History(Settings settings) : settings_(std::move(settings)) {}

  // What the source is asked by the evaluator; times are wall clock.
  std::uint32_t bind(const promql::Selector& selector, std::int64_t past_ms) override;
  const promql::Selection& select(std::uint32_t handle) override;
  std::optional<promql::Point> at(std::uint32_t id, std::int64_t t_ms, std::int64_t lookback_ms) override;
  promql::Points range(std::uint32_t id, std::int64_t first_ms, std::int64_t last_ms, Buffer& buffer) override;

  // A new cycle: its values are the current ones from here on. `append`: they also become history.
  void begin(const Snapshot& snapshot, bool append);

  // For what the rules write. The id of the series, or kNobody when no selector wants it; give it back with
  // release(). record() is at the time of the last begin(); a series that ends is recorded as stale.
  std::uint32_t acquire(const promql::Labels& labels);
  void release(std::uint32_t id);
  void record(std::uint32_t id, double value);

  // Takes the past of all series that this one's selectors match. Before the first begin().
  void adopt(History& old);

  // Some selector may want series of this name.
  [[nodiscard]] bool wants(const std::string& name) const {
    return !handles_of_any_.empty() || handles_of_name_.contains(name);
  }
  [[nodiscard]] std::size_t series_count() const { return by_labels_.size(); }
  [[nodiscard]] std::size_t sample_count() const;  // in columns
  [[nodiscard]] std::size_t bytes() const;         // of columns and axis
  [[nodiscard]] std::int64_t now_wall_ms() const { return now_ms_ + offset_ms_; }

 private:
  static constexpr std::size_t kBlock = history::kBlock, kHead = 2 * kBlock;

  struct Bound {
    std::vector<promql::Matcher> matchers;
    std::int64_t past_ms = 0;
    promql::Selection selection;
    bool dirty = true;
  };
  // Indices are absolute: the n-th sample of the axis since it began.
  struct Column {
    std::vector<double> head;  // beside head_times_
    std::vector<history::Block> blocks;
    std::size_t first_block = 0;  // absolute number of blocks[0]
    std::size_t holes_end = 0;    // one past the newest index without a sample, the last index apart
  };
  struct Series {
    promql::Labels labels;
    std::int64_t past_ms = 0;  // 0: only the newest value is kept
    std::uint32_t users = 0;   // layouts and rules that feed it
    bool in_layout = false;    // else written by a rule, maybe more rarely than once per cycle
    std::unique_ptr<Column> column;
    std::vector<std::uint32_t> handles;
  };
  struct Current {
    double value = 0;
    std::int64_t t_ms = INT64_MIN;
  };
  struct Feed {  // one batch of the snapshot
    std::string collector;
    std::shared_ptr<const Layout> layout;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> values;  // index in Batch::values, series
  };

  [[nodiscard]] std::vector<std::uint32_t> matching_handles(const promql::Labels& labels) const;
  std::uint32_t add(promql::Labels labels, bool in_layout);
  void resolve(Feed& feed, const Batch& batch);
  void end(std::uint32_t id);
  void append();
  void seal();
  void forget_gone();
  void enforce_limit();
  [[nodiscard]] promql::Labels labels_of(const Layout& layout, const vitald::Sample& s) const;
  [[nodiscard]] std::size_t axis_end() const { return head_first_ + head_times_.size(); }
  [[nodiscard]] std::int64_t time_at(std::size_t index) const;
  // The first index at or after this boot time.
  [[nodiscard]] std::size_t index_from(std::int64_t boot_ms) const;
  // The values [from, to) of a column, holes included, into `out`.
  void copy(const Column& c, std::size_t from, std::size_t to, double* out) const;
  [[nodiscard]] bool has_holes(const Column& c, std::size_t from, std::size_t to) const;

  Settings settings_;
  std::vector<Bound> bounds_;
  std::unordered_map<std::string, std::vector<std::uint32_t>> handles_of_name_;
  std::vector<std::uint32_t> handles_of_any_;  // selectors without a fixed name
  std::vector<Series> series_;
  std::vector<Current> current_;  // by series
  std::vector<std::uint32_t> free_ids_;
  std::unordered_map<promql::Labels, std::uint32_t, promql::Labels::Hash> by_labels_;
  std::vector<std::uint32_t> columned_;  // ids with a column
  std::vector<Feed> feeds_;

  std::int64_t now_ms_ = 0, offset_ms_ = 0;  // boot time; wall = boot + offset
  std::vector<std::int64_t> head_times_;
  std::size_t head_first_ = 0;                           // always a multiple of kBlock
  std::vector<std::vector<std::uint32_t>> time_blocks_;  // ms after the first of the block
  std::vector<std::int64_t> time_bases_;
  std::size_t first_time_block_ = 0;

  struct Window {
    std::int64_t first = 0, last = -1;
    std::size_t lo = 0, hi = 0, end = 0;
    std::vector<std::int64_t> times;  // of [lo, hi), when somebody needed them
  } window_;                          // of the last range(): the same for all series of a selector
};

}  // namespace vitald
