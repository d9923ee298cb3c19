// SPDX-License-Identifier: Apache-2.0
// What a browser is told with every answer, unless the configuration or a handler says otherwise.
#pragma once

namespace vitald {

struct BrowserHeader {
  const char *name, *value;
};
inline constexpr BrowserHeader kBrowserHeaders[] = {{"X-Content-Type-Options", "nosniff"}, {"X-Frame-Options", "DENY"}};

}  // namespace vitald
