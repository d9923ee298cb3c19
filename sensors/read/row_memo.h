// SPDX-License-Identifier: Apache-2.0
// Remembers what the rows of a kernel table meant. The rows of /proc/vmstat, diskstats or a link dump come
// in the same order every time, so the row at the same position of the last run nearly always has the same
// key: one memcmp in place of a map look-up, a regular expression or a read of udev's data.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vitald {

template <class T>
class RowMemo {
 public:
  void start() { next_ = 0; }

  // When `line` begins with the next remembered key and then `end`: consumes the key and gives its value.
  T* match(std::string_view& line, char end) {
    if (next_ == rows_.size()) return nullptr;
    auto& row = rows_[next_];
    const auto size = row.first.size();
    if (line.size() <= size || line[size] != end || std::memcmp(line.data(), row.first.data(), size) != 0)
      return nullptr;
    line.remove_prefix(size);
    ++next_;
    return &row.second;
  }
  // When the next remembered key is `key`: its value.
  T* match(std::string_view key) {
    if (next_ == rows_.size() || rows_[next_].first != key) return nullptr;
    return &rows_[next_++].second;
  }
  // The table changed here: what was remembered from this row on is forgotten.
  T* insert(std::string_view key, T value) {
    rows_.erase(rows_.begin() + static_cast<std::ptrdiff_t>(next_), rows_.end());
    rows_.emplace_back(key, std::move(value));
    return &rows_[next_++].second;
  }
  void clear() {
    rows_.clear();
    next_ = 0;
  }

 private:
  std::vector<std::pair<std::string, T>> rows_;
  std::size_t next_ = 0;
};

}  // namespace vitald
