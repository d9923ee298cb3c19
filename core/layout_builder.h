// SPDX-License-Identifier: Apache-2.0
// Turns what a writer recorded into its next Layout: what stayed is copied, what is new is made, and what no reader
// of the text could parse is mended or left out. Runs only when something changed, so it may allocate.
#pragma once

#include <cstdint>
#include <forward_list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/batch.h"
#include "core/layout_store.h"

namespace vitald {

class LayoutBuilder {
 public:
  explicit LayoutBuilder(BatchWriter& writer) : w_(writer) {}
  // Takes the writer's changes, which are closed.
  void build();

 private:
  struct Pair {
    std::string_view name, value;
  };
  // What a series had in the layout before, for one that moved or when all is made anew.
  struct Past {
    std::int64_t since_wall_ms;
    std::uint32_t value;
  };

  void splice_emits();
  [[nodiscard]] bool may_share() const;
  [[nodiscard]] bool share();
  void from_scratch();

  void take_part(std::size_t before_first, std::size_t count, std::int64_t shift);
  void renew_fallen(std::size_t first, std::size_t count, std::int64_t shift);
  void count_families(std::span<const Sample> gone, std::span<const Sample> come);
  void remember(const Sample& s);

  void add(const BatchWriter::Emit& emit, std::int64_t since_wall_ms);
  void add_histogram(const MetricDesc& family, std::string_view bounds);
  void sample(const MetricDesc& family, Part part);
  [[nodiscard]] std::string_view fitting(std::string_view value);
  [[nodiscard]] bool fit_labels(const MetricDesc& family);
  [[nodiscard]] bool fits(const MetricDesc& family, Part part);
  [[nodiscard]] const MetricDesc* fit_name(const MetricDesc& family);
  void drop_label(std::string_view name, const MetricDesc& family, std::string_view why);
  void tell(std::string sentence);
  [[nodiscard]] bool is_new_line(std::string_view identity, std::uint64_t fingerprint);

  BatchWriter& w_;
  std::shared_ptr<Layout> out_;
  std::shared_ptr<LayoutStore> store_;
  std::vector<Sample> made_;  // of the emits at hand
  std::vector<HistogramBlock> made_blocks_;
  std::unordered_set<std::uint64_t> made_fingerprints_;
  std::unordered_multimap<std::uint64_t, const SeriesInfo*> lines_;  // all, when made from scratch
  std::unordered_map<std::uint64_t, Past> past_;                     // by fingerprint
  bool scratch_ = false, is_first_ = false;
  std::uint32_t value_ = 0;  // of the next sample

  // Of the emit at hand.
  std::int64_t since_wall_ms_ = 0;
  std::vector<std::string_view> parts_;
  std::vector<Pair> pairs_;
  std::forward_list<std::string> mended_;
  std::string line_, identity_;

  const MetricDesc* last_family_ = nullptr;  // and what fit_name() said of it
  const MetricDesc* last_fit_ = nullptr;
  std::size_t untold_ = 0;
};

}  // namespace vitald
