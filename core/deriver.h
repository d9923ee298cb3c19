// SPDX-License-Identifier: Apache-2.0
// What computes numbers from other collectors' numbers. Adding one: docs/adding-a-derived-metric.md.
#pragma once

#include <span>

#include "core/result.h"
#include "core/snapshot.h"

namespace vitald {

// A collector's life, another input: in sensors/collectors.list it has `after`, its file exports a CollectorInfo with
// `derive`. It reads no file and asks no clock, so its tests are text in, text out.
class Deriver {
 public:
  virtual ~Deriver() = default;

  // `so_far`: the batches of this cycle's collectors and of the derivers before this one in the list. A batch whose
  // collected_boot_ns was seen before brings no new sample; times are the batches' own. Called by one thread, never
  // concurrently with itself; an error or exception fails this deriver by its name and nobody else.
  // `so_far` has nothing that anybody may write (text files, what programs print). For who wants that there is hear().
  virtual Result<> derive(const Snapshot& so_far, BatchWriter& out) = 0;

  // Before each derive(): the batches of this cycle that anybody may write, whatever names they use; for nothing but
  // names that the operator gave.
  virtual void hear(std::span<const BatchPtr> /*from_anybody*/) {}
};

}  // namespace vitald
