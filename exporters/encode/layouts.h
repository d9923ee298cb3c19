// SPDX-License-Identifier: Apache-2.0
// Whether what an encoder has laid out is still right: it is for batches that have the same layouts.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "core/batch.h"
#include "core/layout.h"

namespace vitald {

using Layouts = std::vector<std::shared_ptr<const Layout>>;

// `batches`: any range of what points to a Batch. Held layouts are not freed, so that the same address is the same one.
template <class Batches>
bool have_layouts(const Batches& batches, const Layouts& layouts) {
  return std::ranges::equal(
      batches, layouts, {}, [](const auto& batch) { return batch->layout.get(); },
      [](const auto& layout) { return layout.get(); });
}

}  // namespace vitald
