// SPDX-License-Identifier: Apache-2.0
// What a receiver of alerts loses of what it is told, one by one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "exporters/deliver/destination.h"

namespace vitald {

// Of one thread.
class Refusal {
 public:
  enum class Why : std::uint8_t { refused, too_large, failed };

  // Counts an item that is lost, of those that `sent` has taken.
  static void count(Sent& sent, const Item& item, Why why) {
    ++sent.refused;
    if (item.about_delivery) ++sent.about_delivery;
    else if (why == Why::too_large) ++sent.too_large;
    else if (why == Why::failed) ++sent.failed;
  }
  // It lost one, and answered so.
  void note(const Item& item, std::string answer) {
    if (item.about_delivery) return;
    ++lost_;
    answer_ = std::move(answer);
  }
  // It took one.
  void clear() { lost_ = 0; }
  // Whether it lost any since it took one: Sent::refusing.
  [[nodiscard]] bool any() const { return lost_ > 0; }
  // Of Sent::problem; empty: there is none.
  [[nodiscard]] std::string text() const {
    return any() ? fmt::format("{} ({} alert{} lost)", answer_, lost_, lost_ == 1 ? "" : "s") : std::string();
  }

 private:
  std::string answer_;
  std::size_t lost_ = 0;
};

}  // namespace vitald
