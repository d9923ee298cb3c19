// SPDX-License-Identifier: Apache-2.0
// The pair of --collector.X.Y-include and -exclude patterns that many collectors have.
#pragma once

#include <memory>
#include <string_view>

#include "core/options.h"
#include "core/result.h"

namespace re2 {
class RE2;
}

namespace vitald {

class NameFilter {
 public:
  NameFilter() = default;  // keeps everything
  // Empty patterns do not filter. Patterns are searched in the name, not anchored. Both may be given.
  // Errors: malformed, with the pattern and what is wrong with it.
  static Result<NameFilter> make(std::string_view exclude, std::string_view include);

  // The values of two flags of which only one may be used. An include that is given switches a default
  // exclude off.
  static Result<NameFilter> exclusive(const Options& options, std::string_view exclude_flag,
                                      std::string_view include_flag);

  [[nodiscard]] bool ignored(std::string_view name) const;

 private:
  std::shared_ptr<const re2::RE2> exclude_, include_;
};

}  // namespace vitald
