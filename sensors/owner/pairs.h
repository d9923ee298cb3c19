// SPDX-License-Identifier: Apache-2.0
// What one owner lost because of another: of each victim the few who cost it most, by name, and one number for the
// rest. What is added to a victim is what its rows grow by together, in every round; who is named begins at 0 and ends
// with its series, so that a rate never sees a step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "core/batch.h"
#include "sensors/owner/table.h"

namespace vitald {

// Not thread-safe.
class OwnerPairs {
 public:
  // `named`: how many of a victim's culprits have rows. `worth`: how much in some minutes makes one of them.
  OwnerPairs(OwnerTable& table, std::size_t named, std::uint64_t worth);

  // All that the victim lost, and the part of it that was this culprit's.
  void add_all(OwnerId victim, std::uint64_t amount);
  void add(OwnerId victim, OwnerId culprit, std::uint64_t amount);
  // Between what is added and emit(): follows owners that are called otherwise, and says who is named. `boot_ns`: now.
  void end_round(std::int64_t boot_ns);
  // Amounts divided by `per`; the culprit's labels are culprit_kind and culprit, "other" for the rest.
  void emit(const MetricDesc& desc, double per, BatchWriter& out) const;

 private:
  struct Culprit {
    std::uint64_t amount = 0, pending = 0;  // shown; not yet
    std::uint64_t fresh = 0;                // of this round
    double score = 0;                       // of the last minutes, older ones less
    bool named = false;
  };
  struct Victim {
    std::uint64_t rest = 0;
    std::int64_t pending = 0;  // all of this round; may be late
    std::map<OwnerId, Culprit> culprits;
  };
  void follow();
  void choose(Victim& victim, double kept) const;

  OwnerTable& table_;
  std::size_t named_;
  double worth_;
  std::map<OwnerId, Victim> victims_;
  std::int64_t round_ns_ = 0;
};

}  // namespace vitald
