// SPDX-License-Identifier: Apache-2.0
// Per-owner totals out of counters per cgroup. Counters of an owner only grow: what a cgroup counted stays with its
// owner when the cgroup goes, and with "other" when the owner itself is dropped, so sums are conserved.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "sensors/owner/owner.h"

namespace vitald {

template <std::size_t N>
class OwnerLedger {
 public:
  using Totals = std::array<std::uint64_t, N>;

  struct Entry {
    Owner owner;
    std::vector<Label> labels;  // views into owner
    Totals gone{};              // counted by cgroups that no longer exist
    Totals live{};              // counted by those that do, in this round
    Totals shown{};             // never goes back, though estimates in `live` may
    std::uint32_t cgroups = 0;  // how many do
    std::int64_t empty_since_ns = 0;
    Totals total() const {
      Totals t = gone;
      for (std::size_t i = 0; i < N; ++i) t[i] += live[i];
      return t;
    }
  };

  explicit OwnerLedger(std::size_t limit) : limit_(limit) {
    entries_.emplace_back();
    entries_.back().owner = {OwnerKind::other, "other", {}, {}, {}, {}, {}, {}};
    entries_.back().labels = owner_labels(entries_.back().owner);
    entries_.back().cgroups = 1;  // it never goes
  }

  // The owner's entry, made when new; "other" when there are `limit` already that are not empty.
  Entry* open(const Owner& owner, std::int64_t now_ns) {
    Entry* entry = find(owner);
    if (!entry) {
      if (entries_.size() >= limit_) drop_empty(now_ns, 0);
      if (entries_.size() >= limit_) entry = &entries_.front();
      else {
        entries_.emplace_back();
        entry = &entries_.back();
        entry->owner = owner;
        entry->labels = owner_labels(entry->owner);
      }
    }
    ++entry->cgroups;
    return entry;
  }
  Entry* find(const Owner& owner) {
    const auto it = std::ranges::find_if(
        entries_, [&](const Entry& e) { return e.owner.kind == owner.kind && e.owner.name == owner.name; });
    return it == entries_.end() ? nullptr : &*it;
  }
  // One of its cgroups is gone.
  void close(Entry& entry, std::int64_t now_ns) {
    if (--entry.cgroups == 0) entry.empty_since_ns = now_ns;
  }
  // Between the two the cgroups' counters are added to `live`; afterwards `shown` is what to emit.
  void begin_round() {
    for (auto& e : entries_) e.live = {};
  }
  void end_round() {
    for (auto& e : entries_) {
      const auto total = e.total();
      for (std::size_t i = 0; i < N; ++i) e.shown[i] = std::max(e.shown[i], total[i]);
    }
  }
  // Owners stay for a while after their last cgroup: a unit that restarts goes on counting, and a container's last
  // values are read.
  void drop_empty(std::int64_t now_ns, std::int64_t keep_ns) {
    for (auto it = entries_.begin(); it != entries_.end();) {
      if (it->cgroups > 0 || now_ns - it->empty_since_ns < keep_ns) {
        ++it;
        continue;
      }
      for (std::size_t i = 0; i < N; ++i) other().gone[i] += it->gone[i];
      it = entries_.erase(it);
    }
  }
  Entry& other() { return entries_.front(); }
  const std::list<Entry>& entries() const { return entries_; }

 private:
  std::size_t limit_;
  std::list<Entry> entries_;  // addresses stay
};

}  // namespace vitald
