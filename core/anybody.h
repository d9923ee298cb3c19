// SPDX-License-Identifier: Apache-2.0
// Whose batches hold names that anybody may have written: they may be those of others.
#pragma once

#include <string_view>

namespace vitald {

// Text files and what programs print.
[[nodiscard]] inline bool written_by_anybody(std::string_view collector) {
  return collector == "textfile" || collector == "exec";
}

}  // namespace vitald
