// SPDX-License-Identifier: Apache-2.0
// All series that there are and were: label set <-> id, and where a series' samples lie. One writer; readers get
// a Table, which never changes for them: what it shares with later ones is only added to behind its size, or copied.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_set>
#include <vector>

#include "rules/history/chunk.h"
#include "rules/promql/labels.h"

namespace vitald::history {

class Index {
 public:
  struct Series {
    std::shared_ptr<const promql::Labels> labels;  // null: the id is free
    std::uint32_t feed = 0, slot = kNobody;
  };

 private:
  static constexpr std::size_t kPage = 256;
  using Page = std::array<Series, kPage>;

 public:
  // Ids are 0 to size() - 1; some are free.
  class Table {
   public:
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] const Series& at(std::uint32_t id) const { return (*(*pages_)[id / kPage])[id % kPage]; }

   private:
    friend class Index;
    std::shared_ptr<const std::vector<std::shared_ptr<Page>>> pages_;
    std::size_t size_ = 0;
  };

  Index() = default;
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;

  [[nodiscard]] std::uint32_t find(const promql::Labels& labels) const;
  std::uint32_t add(promql::Labels labels, std::uint32_t feed, std::uint32_t slot);
  // It lives at another slot from now on.
  void move(std::uint32_t id, std::uint32_t slot) { writable(id).slot = slot; }
  void remove(std::uint32_t id);

  [[nodiscard]] const Series& at(std::uint32_t id) const { return (*pages_[id / kPage])[id % kPage]; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t series() const { return by_labels_.size(); }
  // Of the label sets and of what finds them.
  [[nodiscard]] std::size_t bytes() const { return label_bytes_ + pages_.size() * sizeof(Page); }

  // As it is now, for readers.
  Table publish();

 private:
  Series& writable(std::uint32_t id);

  struct Hash {
    using is_transparent = void;
    const Index* index;
    std::size_t operator()(std::uint32_t id) const { return (*this)(*index->at(id).labels); }
    std::size_t operator()(const promql::Labels& l) const { return promql::Labels::Hash{}(l); }
  };
  struct Equal {
    using is_transparent = void;
    const Index* index;
    const promql::Labels& of(std::uint32_t id) const { return *index->at(id).labels; }
    const promql::Labels& of(const promql::Labels& l) const { return l; }
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      return of(a) == of(b);
    }
  };

  std::vector<std::shared_ptr<Page>> pages_;
  std::vector<bool> own_;  // by page: no reader has it
  std::size_t size_ = 0, label_bytes_ = 0;
  std::vector<std::uint32_t> free_;
  std::unordered_set<std::uint32_t, Hash, Equal> by_labels_{16, Hash{this}, Equal{this}};
  Table published_;
  bool changed_ = true;  // pages_ since published_
};

}  // namespace vitald::history
