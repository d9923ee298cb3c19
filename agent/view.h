// SPDX-License-Identifier: Apache-2.0
// What of the machine is not before us, in words: for the start-up report and `vitald doctor`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/host.h"

namespace vitald {

struct ViewRow {
  std::string_view of;  // as in vitald_host_view{of}
  bool seen = false;
  std::string text;  // what it means, and what to change where it is not seen
};
std::vector<ViewRow> view_rows(const Host& host);

}  // namespace vitald
