// SPDX-License-Identifier: Apache-2.0
// The memory that layouts of one writer share: it only grows and nothing in it moves. The writer's thread adds, any
// thread reads what a layout it was given points to. What is out of use goes when the writer begins a new store.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <forward_list>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <vector>

#include "core/layout.h"
#include "core/metric.h"

namespace vitald {

class LayoutStore {
 public:
  char* bytes(std::size_t size, std::size_t align = 1) {
    auto at = (used_in_block_ + align - 1) & ~(align - 1);
    if (blocks_.empty() || at + size > block_size_) {
      // An eighth of what there is: little is lost, and few blocks are needed.
      block_size_ = std::max({size, kLeastBlock, bytes_ / 8});
      blocks_.push_back(std::make_unique_for_overwrite<char[]>(block_size_));  // aligned as new aligns
      bytes_ += block_size_;
      at = 0;
    }
    used_in_block_ = at + size;
    return blocks_.back().get() + at;
  }
  template <class T>
  std::span<T> objects(std::size_t count) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);
    auto* first = reinterpret_cast<T*>(bytes(count * sizeof(T), alignof(T)));
    for (std::size_t i = 0; i < count; ++i) new (first + i) T();
    return {first, count};
  }
  std::string_view text(std::string_view from) {
    if (from.empty()) return {};
    char* at = bytes(from.size());
    std::memcpy(at, from.data(), from.size());
    return {at, from.size()};
  }
  const Bounds& bounds(std::span<const double> upper) {
    for (const auto& b : bounds_)
      if (std::ranges::equal(b.upper, upper)) return b;
    return bounds_.emplace_front(Bounds::of(upper));
  }
  // A family whose own name cannot leave, under one that can.
  const MetricDesc& renamed(const MetricDesc& family, std::string_view name) {
    if (!mended_) mended_ = std::make_unique<DescPool>();
    return mended_->get(name, family.type, family.help, family.labels, family.unit, family.source, family.shown);
  }
  [[nodiscard]] std::size_t size() const { return bytes_; }

 private:
  static constexpr std::size_t kLeastBlock = 512;
  std::vector<std::unique_ptr<char[]>> blocks_;
  std::size_t block_size_ = 0, used_in_block_ = 0, bytes_ = 0;
  std::forward_list<Bounds> bounds_;  // few
  std::unique_ptr<DescPool> mended_;  // rarely needed, and an empty one takes 1.3 KiB
};

}  // namespace vitald
