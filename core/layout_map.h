// SPDX-License-Identifier: Apache-2.0
// Something computed once per layout and kept while the layout is in use. Not thread-safe.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "core/layout.h"

namespace vitald {

template <class T>
class LayoutMap {
 public:
  // What `make` gave for this layout when it was first asked for. Found at once by who asks in the order of the time
  // before.
  template <class Make>
  const T& of(const std::shared_ptr<const Layout>& layout, Make&& make) {
    if (next_ == entries_.size() || entries_[next_].layout != layout) {
      const auto found = std::ranges::find(entries_, layout, &Entry::layout);
      if (found != entries_.end()) {
        next_ = static_cast<std::size_t>(found - entries_.begin());
      } else {  // held from here on: its address is taken by no other
        auto value = std::make_unique<const T>(std::forward<Make>(make)(*layout));
        entries_.insert(entries_.begin() + static_cast<std::ptrdiff_t>(next_), Entry{layout, std::move(value), true});
      }
    }
    auto& entry = entries_[next_++];
    entry.used = true;
    return *entry.value;
  }
  // Lets go what was not asked for since the last call of this.
  void forget_unused() {
    std::erase_if(entries_, [](Entry& e) { return !std::exchange(e.used, false); });
    next_ = 0;
  }
  void forget(const Layout* layout) {
    std::erase_if(entries_, [&](const Entry& e) { return e.layout.get() == layout; });
    next_ = 0;
  }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::shared_ptr<const Layout> layout;
    std::unique_ptr<const T> value;
    bool used = false;
  };
  std::vector<Entry> entries_;
  std::size_t next_ = 0;  // the place behind the last that was found
};

}  // namespace vitald
