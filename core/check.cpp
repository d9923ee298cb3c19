// SPDX-License-Identifier: Apache-2.0
#include "core/check.h"

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "core/log.h"
#include "core/log_output.h"

namespace vitald {

void check_failed(const char* what, const char* file, int line) noexcept {
  constexpr std::int64_t kLastWordsNs = 1'000'000'000;
  const std::string_view path = file;  // below the checkout
  const auto name = path.substr(path.rfind("/../") == std::string_view::npos ? 0 : path.rfind("/../") + 4);
  char text[500];
  std::snprintf(text, sizeof text, "vitald: bug, please report: %.*s:%d: %s\n", static_cast<int>(name.size()),
                name.data(), line, what);
  log::say(text);
  log::flush(kLastWordsNs);
  std::abort();
}

}  // namespace vitald
