// SPDX-License-Identifier: Apache-2.0
// The history as the rules read it: on the writer's thread, within a round, again and again. Selectors are resolved
// once and kept up with what comes and goes; what a range selects is kept beside the history as plain columns of the
// newest 64 to 128 samples, so that the ranges of most rules are handed out without unpacking or copying.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "rules/history/store.h"

namespace vitald {

class LiveHistory final : public promql::SeriesSource {
 public:
  explicit LiveHistory(History& history) : history_(&history) {}

  // Reads that one from here on; what is bound stays.
  void attach(History& history);
  // After each History::begin().
  void begin_round();

  std::uint32_t bind(const promql::Selector& selector, std::int64_t past_ms) override;
  const promql::Selection& select(std::uint32_t handle) override;
  std::optional<promql::Point> at(std::uint32_t id, std::int64_t t_ms, std::int64_t lookback_ms) override;
  promql::Points range(std::uint32_t id, std::int64_t first_ms, std::int64_t last_ms, Buffer& buffer) override;

  // How far back the selectors that were bound since the last call look.
  std::int64_t take_longest_past() { return std::exchange(longest_past_ms_, 0); }
  // What bind() gave since the last call, and the end of one of them: nobody may use it then.
  std::vector<std::uint32_t> take_bound() { return std::exchange(bound_, {}); }
  void unbind(std::uint32_t handle);

 private:
  static constexpr std::size_t kBlock = history::kBlock, kNewest = 2 * kBlock;
  static constexpr std::uint32_t kNone = UINT32_MAX;

  struct Bound {
    std::vector<promql::Matcher> matchers;
    std::int64_t past_ms = 0;
    promql::Selection selection;
    bool dirty = true;
    std::uint32_t users = 0;  // 0: it is free
    [[nodiscard]] bool fits(const promql::Labels& labels) const;
  };
  struct Column {
    std::uint32_t id = 0;
    std::vector<double> values;   // beside the times of its feed
    std::uint64_t holes_end = 0;  // one past the newest row without a sample
  };
  // The rows of one feed that columns have: numbers are rows of the feed since it began.
  struct Newest {
    std::vector<std::int64_t> times;
    std::uint64_t first = 0;
    std::vector<std::uint32_t> columns;
    [[nodiscard]] std::uint64_t end() const { return first + times.size(); }
    // Of the range that was asked for last: the same for all series of a selector.
    std::int64_t from_ms = 0, to_ms = -1;
    std::size_t lo = 0, hi = 0;
  };

  // The handles of selectors with that metric name, or without one.
  [[nodiscard]] std::vector<std::uint32_t>& by_name(const Bound& b);
  void match(std::uint32_t id);
  void unmatch(std::uint32_t id);
  void catch_up();
  void append();
  void prune();
  void add_column(std::uint32_t id);
  [[nodiscard]] std::uint32_t column_of(std::uint32_t id) const {
    return id < column_of_.size() ? column_of_[id] : kNone;
  }

  History* history_;
  std::vector<Bound> bounds_;
  std::unordered_map<std::string, std::vector<std::uint32_t>> handles_of_name_;
  std::vector<std::uint32_t> handles_of_any_;  // selectors without a fixed name
  std::vector<std::uint32_t> free_handles_;
  std::int64_t longest_past_ms_ = 0;
  std::vector<std::uint32_t> bound_;
  std::unordered_map<std::uint32_t, std::vector<std::uint32_t>> handles_of_id_;
  std::uint64_t rounds_ = 0;

  std::vector<Column> columns_;
  std::vector<std::uint32_t> free_columns_;
  std::vector<std::uint32_t> column_of_;  // by id
  std::vector<Newest> newest_;            // by feed
  history::Columns packed_;
};

}  // namespace vitald
