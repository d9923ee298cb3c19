// SPDX-License-Identifier: Apache-2.0
// A kind of receiver of which two would take something from each other: what that is. Its settings derive from this,
// too, and the configuration has one for each.
#pragma once

#include <string>
#include <string_view>

namespace vitald {

struct Claimant {
  virtual ~Claimant() = default;
  bool operator==(const Claimant&) const = default;
  // In words, the same for two that are about the same. Empty: nothing.
  [[nodiscard]] virtual std::string owns() const = 0;
  // What is to be delivered once where the one of this name before, maybe in another run, owned what nobody owns now:
  // in the words of owns(). Empty: nothing.
  [[nodiscard]] virtual std::string farewell(std::string_view owned_before) const = 0;

 protected:
  Claimant() = default;
  Claimant(const Claimant&) = default;
  Claimant& operator=(const Claimant&) = default;
};

}  // namespace vitald
