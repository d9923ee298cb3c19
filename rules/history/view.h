// SPDX-License-Identifier: Apache-2.0
// The history as it was when a reader asked for it: a query sees one state from its first selector to its last, however
// long it takes and whatever is added or thrown away meanwhile. By one thread at a time, any.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "rules/history/columns.h"
#include "rules/history/index.h"
#include "rules/promql/series_source.h"

namespace vitald {

namespace history {

struct FeedName {
  std::string collector;
  std::size_t ordinal = 0;  // a collector may have several batches
};

// What the writer publishes after each round.
struct Round {
  std::int64_t now_ms = 0, offset_ms = 0;  // boot time of the round; wall = boot + offset
  Index::Table table;
  std::vector<FeedState> feeds;
  std::shared_ptr<const std::vector<FeedName>> names;  // beside feeds; null before the first round
};

}  // namespace history

class HistoryView final : public promql::SeriesSource {
 public:
  explicit HistoryView(std::shared_ptr<const history::Round> round) : round_(std::move(round)) {}

  // For who writes it down.
  [[nodiscard]] const history::Round& round() const { return *round_; }
  // When the last round was: a query without a time is for this one.
  [[nodiscard]] std::int64_t now_wall_ms() const { return round_->now_ms + round_->offset_ms; }
  // Of all series that have samples or had some until lately: visit(const promql::Labels&).
  template <class Visit>
  void each_series(Visit&& visit) const {
    for (std::uint32_t id = 0; id < round_->table.size(); ++id)
      if (const auto& s = round_->table.at(id); s.labels) visit(*s.labels);
  }

  // Once it is true bind() finds nothing more, since a regular expression may take milliseconds for each series; then
  // whatever was made of it is not the answer.
  void give_up_when(std::function<bool()> given_up) { given_up_ = std::move(given_up); }
  [[nodiscard]] bool gave_up() const { return gave_up_; }

  std::uint32_t bind(const promql::Selector& selector, std::int64_t past_ms) override;
  const promql::Selection& select(std::uint32_t handle) override { return selections_[handle]; }
  std::optional<promql::Point> at(std::uint32_t id, std::int64_t t_ms, std::int64_t lookback_ms) override;
  promql::Points range(std::uint32_t id, std::int64_t first_ms, std::int64_t last_ms, Buffer& buffer) override;

 private:
  static constexpr std::size_t kMostUnpacked = std::size_t{1} << 20;  // samples

  // A query of many steps asks for the same series again and again: they are unpacked once.
  const history::Columns::Whole& unpacked(std::uint32_t id);

  std::shared_ptr<const history::Round> round_;
  std::deque<promql::Selection> selections_;  // handed out by reference
  std::unordered_map<std::uint32_t, history::Columns::Whole> unpacked_;
  std::size_t unpacked_samples_ = 0;
  std::function<bool()> given_up_;
  bool gave_up_ = false;
};

}  // namespace vitald
