// SPDX-License-Identifier: Apache-2.0
// The derive stage: a Deriver as one of a cycle's collectors, so that switches, health, errors and reloads are theirs.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/deriver.h"

namespace vitald {

// What derivers see, while they run.
struct SoFar {
  const Snapshot* snapshot = nullptr;  // without what anybody may write
  std::vector<BatchPtr> from_anybody;
};

class DerivedCollector final : public Collector {
 public:
  // `so_far` outlives it and is of the cycle that collects.
  DerivedCollector(std::unique_ptr<Deriver> deriver, const SoFar& so_far)
      : deriver_(std::move(deriver)), so_far_(so_far) {}

  // What the entry's file makes, whichever of the two it is.
  static Result<std::unique_ptr<Collector>> make(const CollectorEntry& entry, const Host& host, const Options& options,
                                                 const SoFar& so_far);

  Result<> collect(BatchWriter& out) override {
    deriver_->hear(so_far_.from_anybody);
    return deriver_->derive(*so_far_.snapshot, out);
  }

 private:
  std::unique_ptr<Deriver> deriver_;
  const SoFar& so_far_;
};

// At its place by its collector's name.
void insert_batch(Snapshot& snapshot, BatchPtr batch);

}  // namespace vitald
