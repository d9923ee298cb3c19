// SPDX-License-Identifier: Apache-2.0
// What each owner has counted, as rows of named counters. Nothing is lost and nothing counts twice in a rate: what an
// owner counted goes on under its new name; when it becomes one with another or is dropped, what was shown under its
// own name ends with that series, and only what was not shown yet is the other's.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/batch.h"
#include "sensors/owner/table.h"

namespace vitald {

// Row: a struct of std::uint64_t and nothing else. Not thread-safe.
template <class Row>
class OwnerTotals {
  static_assert(std::is_trivially_copyable_v<Row> && sizeof(Row) % sizeof(std::uint64_t) == 0);

 public:
  static constexpr std::size_t kCounters = sizeof(Row) / sizeof(std::uint64_t);
  using Counters = std::array<std::uint64_t, kCounters>;

  struct Entry {
    OwnerPtr owner;
    Row total{};    // counted
    Row running{};  // of what has begun and not ended, in this round
    Row shown{};    // the sum of both; never goes back, though estimates may
  };

  // "other" is always there, and the first.
  explicit OwnerTotals(OwnerTable& table) : table_(table) { entries_.push_back({table.at(kOtherOwner), {}, {}, {}}); }

  static Row sum(const Row& a, const Row& b) {
    return combine(a, b, [](auto x, auto y) { return x + y; });
  }
  static Row difference(const Row& a, const Row& b) {
    return combine(a, b, [](auto x, auto y) { return x - y; });
  }

  void add(OwnerId id, const Row& grown) {
    auto& e = entry(id);
    e.total = sum(e.total, grown);
  }
  void add_running(OwnerId id, const Row& estimate) {
    auto& e = entry(id);
    e.running = sum(e.running, estimate);
  }

  // Between the two, add(); afterwards entries() is what to emit, in the order of the ids.
  void begin_round() {
    follow();
    for (auto& e : entries_) e.running = {};
  }
  void end_round() {
    follow();
    for (auto& e : entries_)
      e.shown = combine(e.shown, sum(e.total, e.running), [](auto x, auto y) { return std::max(x, y); });
  }
  [[nodiscard]] std::span<const Entry> entries() const { return entries_; }
  [[nodiscard]] bool has(OwnerId id) const {
    const auto it = place(id);
    return it != entries_.end() && it->owner->id == id;
  }

 private:
  template <class F>
  static Row combine(const Row& a, const Row& b, F f) {
    auto x = std::bit_cast<Counters>(a);
    const auto y = std::bit_cast<Counters>(b);
    for (std::size_t i = 0; i < kCounters; ++i) x[i] = f(x[i], y[i]);
    return std::bit_cast<Row>(x);
  }
  auto place(OwnerId id) const {
    return std::ranges::lower_bound(entries_, id, {}, [](const Entry& e) { return e.owner->id; });
  }
  Entry& entry(OwnerId id) {
    auto at = place(id);
    if (at == entries_.end() || at->owner->id != id) {
      const auto owner = table_.at(id);  // may be another by now
      if (owner->id != id) return entry(owner->id);
      at = entries_.insert(at, Entry{owner, {}, {}, {}});
    }
    return entries_[static_cast<std::size_t>(at - entries_.begin())];
  }
  // Owners that are called otherwise, became one or were dropped. One that changes costs that one.
  void follow() {
    const auto changes = table_.changes_since(version_);
    version_ = changes.version;
    std::vector<OwnerId> ids = changes.ids;
    if (changes.all)
      for (const auto& e : entries_) ids.push_back(e.owner->id);
    for (const auto id : ids) {
      const auto at = place(id);
      if (at == entries_.end() || at->owner->id != id) continue;
      auto now = table_.at(id);
      auto& e = entries_[static_cast<std::size_t>(at - entries_.begin())];
      if (now->id == id) {
        e.owner = std::move(now);
        continue;
      }
      const Entry gone = e;
      entries_.erase(at);
      auto& into = entry(now->id);
      into.total = sum(into.total, combine(gone.total, gone.shown, [](auto x, auto y) { return x - std::min(x, y); }));
      into.running = sum(into.running, gone.running);
    }
  }

  OwnerTable& table_;
  std::uint64_t version_ = 0;
  std::vector<Entry> entries_;  // by id
};

// A number per owner: one member of a row becomes one series of each owner.
struct OwnerField {
  const MetricDesc& desc;
  std::size_t offset;  // offsetof the member
  double per = 1;      // value / per: 1e9 makes seconds of nanoseconds
  Label extra = {};    // in front of the owner's labels, where several members are one family
};

template <class Row>
void emit_fields(std::span<const OwnerField> fields, std::span<const typename OwnerTotals<Row>::Entry> entries,
                 BatchWriter& out) {
  std::vector<Label> labels;
  for (const auto& field : fields)
    for (const auto& e : entries) {
      const auto counters = std::bit_cast<typename OwnerTotals<Row>::Counters>(e.shown);
      const auto value = static_cast<double>(counters[field.offset / sizeof(std::uint64_t)]) / field.per;
      if (field.extra.name.empty()) {
        out.set_labels(field.desc, value, e.owner->labels);
        continue;
      }
      labels.assign(1, field.extra);
      labels.insert(labels.end(), e.owner->labels.begin(), e.owner->labels.end());
      out.set_labels(field.desc, value, labels);
    }
}

// The same for members that most owners never count in: an owner has its series from the first time, "other" always.
template <class Row>
void emit_counted_fields(std::span<const OwnerField> fields, std::span<const typename OwnerTotals<Row>::Entry> entries,
                         BatchWriter& out) {
  std::vector<Label> labels;
  for (const auto& field : fields)
    for (const auto& e : entries) {
      const auto counters = std::bit_cast<typename OwnerTotals<Row>::Counters>(e.shown);
      const auto count = counters[field.offset / sizeof(std::uint64_t)];
      if (count == 0 && e.owner->id != kOtherOwner) continue;
      labels.clear();
      if (!field.extra.name.empty()) labels.push_back(field.extra);
      labels.insert(labels.end(), e.owner->labels.begin(), e.owner->labels.end());
      out.set_labels(field.desc, static_cast<double>(count) / field.per, labels);
    }
}

}  // namespace vitald
