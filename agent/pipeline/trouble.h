// SPDX-License-Identifier: Apache-2.0
// What goes wrong with one collector: all of it is counted, and logged when it is not what went wrong the last time.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace vitald {

class Trouble {
 public:
  explicit Trouble(std::string_view collector) : collector_(collector) {}

  // As errors() counts them: the kinds of Errc, then exceptions that came out of a collector.
  static constexpr std::size_t kKinds = kErrcCount + 1;
  static std::string_view kind(std::size_t index);

  // One run, with what went wrong with single items of it. True when text() or items() are others now.
  bool failed(const Error& error, std::span<const Error> problems, bool bug);
  bool worked(std::span<const Error> problems);

  [[nodiscard]] std::span<const std::uint64_t> errors() const { return errors_; }
  // Of the last run; empty: it worked.
  [[nodiscard]] const std::string& text() const { return text_; }
  // Items that the last run had to leave out.
  [[nodiscard]] std::uint64_t left_out() const { return left_out_; }
  // What went wrong with each of them.
  [[nodiscard]] const std::vector<std::string>& items() const { return problems_; }
  [[nodiscard]] bool absent() const { return absent_; }
  [[nodiscard]] bool any() const { return !text_.empty() || !problems_.empty(); }

 private:
  bool note(std::span<const Error> problems);

  std::string_view collector_;
  std::array<std::uint64_t, kKinds> errors_{};
  std::string text_;
  std::uint64_t left_out_ = 0;
  bool absent_ = false;
  std::vector<std::string> problems_;
};

}  // namespace vitald
