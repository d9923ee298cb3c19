// SPDX-License-Identifier: Apache-2.0
// The slowest events of a histogram, as its BPF program notes them (vitald_worst), as exemplars of its buckets.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bpf/include/vitald/hist.h"
#include "core/batch.h"
#include "core/clock.h"
#include "core/owner.h"
#include "sensors/bpf/maps.h"

namespace vitald {

// Takes what a program has noted on one CPU, which begins anew then. None: there was nothing, it is being written just
// now, or it is so young (a millisecond) that another CPU might not see all of it yet; then it is there the next time.
inline std::optional<vitald_worst> take_worst(vitald_worst& cell, std::int64_t boot_ns) {
  const auto ns = now_in(cell.ns);
  if (ns == 0) return std::nullopt;
  std::atomic_thread_fence(std::memory_order_acquire);
  vitald_worst copy;
  std::memcpy(&copy, &cell, sizeof copy);
  std::atomic_thread_fence(std::memory_order_acquire);
  const bool whole = copy.ns == ns && copy.check == ns + copy.at_ns && now_in(cell.check) == copy.check;
  if (whole && static_cast<std::int64_t>(copy.at_ns) + 1'000'000 > boot_ns) return std::nullopt;
  static_cast<volatile vitald_worst&>(cell).ns = 0;  // also what two have written at once, which none else would mend
  return whole ? std::optional(copy) : std::nullopt;
}

// Of each bucket the slowest event of a minute; where none came since, the last one stays, with its own time. Not
// thread-safe.
class Slowest {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  void add(const vitald_worst& worst, Labels labels) {
    const auto bucket = vitald_hist_slot(worst.ns);
    const auto known = buckets_.find(bucket);
    if (known != buckets_.end() && known->second.ns > worst.ns && worst.at_ns < known->second.at_ns + kMinuteNs) return;
    // Once and for all: an exemplar that changes its time is another one.
    const auto ago_ns = SystemClock::read(CLOCK_BOOTTIME) - static_cast<std::int64_t>(worst.at_ns);
    const auto wall_ms = (SystemClock::read(CLOCK_REALTIME) - ago_ns) / 1'000'000;
    buckets_[bucket] = {
        worst.ns, worst.at_ns, {bucket, static_cast<double>(worst.ns) / 1e9, wall_ms, std::move(labels)}};
  }
  [[nodiscard]] std::vector<Exemplar> exemplars() const {
    std::vector<Exemplar> all;
    for (const auto& [bucket, kept] : buckets_) all.push_back(kept.exemplar);
    return all;
  }

 private:
  static constexpr std::uint64_t kMinuteNs = 60'000'000'000;
  struct Kept {
    std::uint64_t ns = 0, at_ns = 0;
    Exemplar exemplar;
  };
  std::map<std::uint32_t, Kept> buckets_;
};

// Without what is not known, the shortest first: there may be no room for all (Exemplar::kMostCharacters).
inline Slowest::Labels exemplar_labels(const vitald_worst& worst, const Owner* owner) {
  Slowest::Labels labels;
  if (worst.comm[0] != '\0')
    labels.emplace_back("comm", std::string(worst.comm, strnlen(worst.comm, sizeof worst.comm)));
  if (worst.pid != 0) labels.emplace_back("pid", std::to_string(worst.pid));
  if (worst.place != 0) labels.emplace_back("sector", std::to_string(worst.place - 1));
  if (owner) {
    labels.emplace_back("owner_kind", to_string(owner->kind));
    labels.emplace_back("owner", owner->name);
    if (!owner->namespace_.empty()) labels.emplace_back("namespace", owner->namespace_);
    if (!owner->pod.empty()) labels.emplace_back("pod", owner->pod);
  }
  return labels;
}

}  // namespace vitald
