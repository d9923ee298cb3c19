// SPDX-License-Identifier: Apache-2.0
// Something computed once per layout and kept while the layout is in use. Not thread-safe.
#pragma once

#include <iterator>
#include <memory>
#include <unordered_map>
#include <utility>

#include "core/layout.h"

namespace vitald {

template <class T>
class LayoutMap {
 public:
  // What `make` gave for this layout when it was first asked for.
  template <class Make>
  const T& of(const std::shared_ptr<const Layout>& layout, Make&& make) {
    auto& entry = entries_[layout.get()];
    if (!entry.layout) {  // held from here on: its address is taken by no other
      entry.value = std::make_unique<const T>(std::forward<Make>(make)(*layout));
      entry.layout = layout;
    }
    entry.used = true;
    return *entry.value;
  }
  // Lets go what was not asked for since the last call of this.
  void forget_unused() {
    for (auto at = entries_.begin(); at != entries_.end();)
      at = std::exchange(at->second.used, false) ? std::next(at) : entries_.erase(at);
  }
  void forget(const Layout* layout) { entries_.erase(layout); }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::shared_ptr<const Layout> layout;
    std::unique_ptr<const T> value;
    bool used = false;
  };
  std::unordered_map<const Layout*, Entry> entries_;
};

}  // namespace vitald
