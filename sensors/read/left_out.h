// SPDX-License-Identifier: Apache-2.0
// What one run had to leave out. A bad item (a line, a device, a mount) costs itself and not its neighbours; the run
// then ends with the first of their errors, so that its success is 0 and the log has one line, which says how many more
// there are.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "core/result.h"

namespace vitald {

class LeftOut {
 public:
  void add(Error error) {
    if (++count_ == 1) first_ = std::move(error);
  }
  void add(const tl::unexpected<Error>& error) { add(error.value()); }
  void add(const Result<>& outcome) {
    if (!outcome) add(outcome.error());
  }

  [[nodiscard]] Result<> outcome() const {
    if (count_ == 0) return {};
    Error error = first_;
    if (count_ > 1) error.text += " (and " + std::to_string(count_ - 1) + " more)";
    return fail(std::move(error));
  }

 private:
  Error first_;
  std::size_t count_ = 0;
};

}  // namespace vitald
