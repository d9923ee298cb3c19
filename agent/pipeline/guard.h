// SPDX-License-Identifier: Apache-2.0
// What two batches of one snapshot say of the same family or series must fit together, or no reader of the whole text
// could take it. The guard decides who stays: a collector's own family before a rule's, and both before a text file's
// or program's, which anybody may write; among equals the first by name. What does not stay is left out of its batch,
// so that exporters, rules and history see the same.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/snapshot.h"

namespace vitald {

using FamilyNames = std::set<std::string, std::less<>>;

// Not thread-safe. Decided anew only when families or the series of shared families change; else it compares pointers.
class Guard {
 public:
  Guard();
  ~Guard();
  // Of one cycle, in their order. `of_rules`: families that only the rules may give, also while they give none: what a
  // file says under these names would be taken for theirs. Null: none. Batches that have to lose something are replaced
  // by copies; their collector's success becomes 0, and so does it where the collector's own layout had to leave
  // something out.
  void check(std::vector<BatchPtr>& batches, std::shared_ptr<const FamilyNames> of_rules = nullptr);

 private:
  void look(std::vector<BatchPtr>& batches);
  struct Instruments;
  // What is known of the batch at this place.
  struct Known {
    std::string collector;
    std::shared_ptr<const Layout> layout;
    std::uint64_t shared_mask = 0;  // of the descriptors of families that other batches have too
    std::vector<const MetricDesc*> shared;
    std::vector<std::pair<const MetricDesc*, const SeriesInfo*>> shared_series;
    // Decided: what leaves not.
    std::vector<const MetricDesc*> families_out;
    std::vector<const SeriesInfo*> series_out;
    std::vector<std::string> sentences;
    std::shared_ptr<const Layout> left;  // the layout without them; null: nothing is left out
  };

  [[nodiscard]] bool same_families(const std::vector<BatchPtr>& batches) const;
  [[nodiscard]] static bool find_shared_series(Known& known);
  void decide_families(const std::vector<BatchPtr>& batches);
  void decide_series();
  void leave_out(Known& known);
  [[nodiscard]] static std::size_t series_left_out(const Known& known);
  void tell(const std::vector<BatchPtr>& batches);
  void apply(std::vector<BatchPtr>& batches);

  std::vector<Known> known_;
  std::shared_ptr<const FamilyNames> of_rules_;
  // Numbers that say so: {batch, index of the value, value}.
  struct Verdict {
    std::size_t batch = 0;
    std::uint32_t value = 0;
    double number = 0;
    bool added = false;  // to what the collector itself had to leave out
  };
  std::vector<Verdict> verdicts_;
  bool clean_ = true;                                      // nothing is left out or mended anywhere
  std::vector<std::pair<std::string, std::string>> told_;  // collector, sentence: in the log already
  std::unique_ptr<Instruments> instruments_;
};

}  // namespace vitald
