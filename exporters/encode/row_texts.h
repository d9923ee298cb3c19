// SPDX-License-Identifier: Apache-2.0
// A text for each row of a table, one after the other. Made once: where rows come or go only theirs are made or
// dropped.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "exporters/encode/series_table.h"

namespace vitald {

// Not thread-safe.
class RowTexts {
 public:
  // `append(text, row)` puts a row's text behind `text`; it says the same of a row for as long as that is there.
  template <class Append>
  void follow(const SeriesTable& table, Append&& append) {
    if (version_ == table.version()) return;
    const auto* change = version_ + 1 == table.version() ? table.change() : nullptr;
    version_ = kNone;  // until all is there
    if (change) {
      drop(*change);
    } else {
      text_.clear();
      ends_.clear();
    }
    ends_.reserve(table.rows().size());
    for (const auto& row : table.rows().subspan(ends_.size())) {
      append(text_, row);
      ends_.push_back(static_cast<std::uint32_t>(text_.size()));
    }
    version_ = table.version();
  }
  [[nodiscard]] std::size_t size() const { return ends_.size(); }
  [[nodiscard]] std::size_t bytes() const { return text_.size(); }
  // Calls `use(row, text)` for each, in order.
  template <class Use>
  void each(Use&& use) const {
    std::uint32_t from = 0;
    for (std::size_t i = 0; i < ends_.size(); ++i) {
      use(i, std::string_view(text_.data() + from, ends_[i] - from));
      from = ends_[i];
    }
  }

 private:
  // No version of a table is followed by its first.
  static constexpr std::uint64_t kNone = 0;

  void drop(const RowChange& change) {
    if (change.gone.empty()) return;
    std::size_t row = 0;
    std::uint32_t size = 0;
    change.each_kept([&](std::size_t first, std::size_t end) {
      const auto from = first == 0 ? 0 : ends_[first - 1], to = ends_[end - 1];
      std::copy(text_.data() + from, text_.data() + to, text_.data() + size);
      for (auto i = first; i < end; ++i) ends_[row++] = ends_[i] - from + size;
      size += to - from;
    });
    text_.resize(size);
    ends_.resize(row);
  }

  std::string text_;
  std::vector<std::uint32_t> ends_;  // of each in it
  std::uint64_t version_ = kNone;
};

}  // namespace vitald
