// SPDX-License-Identifier: Apache-2.0
// What one run had to leave out. A bad item (a line, a device, a mount) costs itself and not its neighbours; the run
// then ends with the first of their errors, so that its success is 0 and the log has one line, which says how many more
// there are.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "core/result.h"
#include "core/text/items.h"

namespace vitald {

class LeftOut {
 public:
  void add(Error error) {
    const auto items = items_of(error.text);
    if (items_ == 0) first_ = std::move(error);
    // Of an item the kernel may say that it does not know it (EOPNOTSUPP); that says nothing of the machine.
    if (first_.kind == Errc::absent) first_.kind = Errc::io;
    items_ += items;
  }
  void add(const tl::unexpected<Error>& error) { add(error.value()); }
  void add(const Result<>& outcome) {
    if (!outcome) add(outcome.error());
  }

  [[nodiscard]] Result<> outcome() const {
    if (items_ == 0) return {};
    return fail(Error{first_.kind, first_.err, with_items(first_.text, items_)});
  }

 private:
  Error first_;
  std::uint64_t items_ = 0;
};

}  // namespace vitald
