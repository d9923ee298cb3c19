// SPDX-License-Identifier: Apache-2.0
// The derive stage: a Deriver as one of a cycle's collectors, so that switches, health, errors and reloads are theirs.
#pragma once

#include <memory>
#include <utility>

#include "core/collector.h"
#include "core/deriver.h"

namespace vitald {

class DerivedCollector final : public Collector {
 public:
  // `so_far` outlives it and points to the snapshot of the cycle that collects.
  DerivedCollector(std::unique_ptr<Deriver> deriver, const Snapshot* const& so_far)
      : deriver_(std::move(deriver)), so_far_(so_far) {}

  // What the entry's file makes, whichever of the two it is.
  static Result<std::unique_ptr<Collector>> make(const CollectorEntry& entry, const Host& host, const Options& options,
                                                 const Snapshot* const& so_far);

  Result<> collect(BatchWriter& out) override { return deriver_->derive(*so_far_, out); }

 private:
  std::unique_ptr<Deriver> deriver_;
  const Snapshot* const& so_far_;
};

// At its place by its collector's name.
void insert_batch(Snapshot& snapshot, BatchPtr batch);

}  // namespace vitald
