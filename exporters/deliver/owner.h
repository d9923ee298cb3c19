// SPDX-License-Identifier: Apache-2.0
// A kind of receiver of which two would take something from each other: what that is. Its settings derive from this,
// too, and the configuration has one for each.
#pragma once

#include <string>

namespace vitald {

struct Owner {
  virtual ~Owner() = default;
  bool operator==(const Owner&) const = default;
  // In words, the same for two that are about the same. Empty: nothing.
  [[nodiscard]] virtual std::string owns() const = 0;

 protected:
  Owner() = default;
  Owner(const Owner&) = default;
  Owner& operator=(const Owner&) = default;
};

}  // namespace vitald
