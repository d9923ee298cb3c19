// SPDX-License-Identifier: Apache-2.0
// That a receiver of alerts loses what it is told, until it takes what it is told: a row of "ok" would hide it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace vitald {

// Of one thread. Who takes that an alert fires may still refuse that it is over, and would seem well each time one
// fires; so an end that was refused counts until one is taken. Who takes an end takes what fires.
class Refusal {
 public:
  // `key`: Item::key.
  void note(std::string_view key, std::string answer) {
    ++(is_end(key) ? ends_ : others_);
    answer_ = std::move(answer);
  }
  void clear(std::string_view key) {
    others_ = 0;
    if (is_end(key)) ends_ = 0;
  }
  [[nodiscard]] bool any() const { return others_ + ends_ > 0; }  // Sent::refusing
  // Of Sent::problem; empty: there is none.
  [[nodiscard]] std::string text() const {
    const auto alerts = others_ + ends_;
    return alerts == 0 ? std::string() : fmt::format("{} ({} alert{} lost)", answer_, alerts, alerts == 1 ? "" : "s");
  }

 private:
  static bool is_end(std::string_view key) {
    return key.starts_with("resolved ") || key.starts_with("alert_resolved-");
  }

  std::string answer_;
  std::size_t others_ = 0, ends_ = 0;
};

}  // namespace vitald
