// SPDX-License-Identifier: Apache-2.0
// A snapshot's series as text, for expectations.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "core/snapshot.h"

namespace vitald {

// The series whose names begin with `prefix`, one line each, in the order of the snapshot.
inline std::string lines(const Snapshot& snapshot, std::string_view prefix) {
  std::string out;
  for (const auto& batch : snapshot.batches)
    for (const auto& s : batch->layout->samples())
      if (s.family->name.starts_with(prefix))
        out += fmt::format("{}{}\n", batch->layout->prefix(s), batch->values[s.value]);
  return out;
}

}  // namespace vitald
