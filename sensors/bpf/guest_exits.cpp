// SPDX-License-Identifier: Apache-2.0
// Why virtual CPUs left each guest, how long the host took for it, and how long they waited for a CPU meanwhile: the
// guest's steal as the host sees it.
#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include "sensors/bpf/coarse.h"
#include "sensors/bpf/exit_reasons.h"
#include "sensors/bpf/kvm.h"

namespace vitald {
namespace {

constexpr MetricDesc kExits{
    "vitald_owner_vcpu_exits_total",
    MetricType::counter,
    "How often virtual CPUs of the owner left their guest and went back in, by reason: the kernel's name of it (on "
    "Intel hlt, io_instruction, ept_violation, external_interrupt, ..., on AMD hlt, io, npf, interrupt, ...), its "
    "number where it has none, unknown where the kernel does not tell; beyond 31 reasons all others are other. An "
    "owner has its series from the first exit.",
    "reason,owner_kind,owner,namespace,pod,container,guest",
    "",
    "raw_tp/kvm_exit, kvm_entry"};
constexpr MetricDesc kHandling{
    "vitald_owner_vcpu_exit_seconds",
    MetricType::histogram,
    "How long virtual CPUs of the owner were out of their guest, from the exit until they were back in, without those "
    "exits in which they had halted.",
    kOwnerLabels,
    "seconds",
    "raw_tp/kvm_exit, kvm_entry"};
constexpr MetricDesc kWait{
    "vitald_owner_vcpu_wait_seconds",
    MetricType::histogram,
    "How long virtual CPUs of the owner that could have run waited for a CPU of the host before they were back in "
    "their "
    "guest, throttling by cpu.max with it: what the guest is told as steal. Of those that waited at all, by the "
    "scheduler's own account (run_delay).",
    kOwnerLabels,
    "seconds",
    "sched_info.run_delay at raw_tp/kvm_entry"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kExits, kHandling, kWait};

// Its bounds are coarse ones, without the last that kernel rows have room for.
struct Shown {
  std::array<std::uint64_t, kCoarseBounds + 1> counts{};
  std::uint64_t sum_ns = 0;
  Shown(const __u64 (&slots)[VITALD_COARSE_SLOTS], std::uint64_t ns) : sum_ns(ns) {
    for (std::size_t i = 0; i < VITALD_COARSE_SLOTS; ++i) counts[std::min(i, kCoarseBounds)] += slots[i];
  }
  [[nodiscard]] HistogramView view() const { return {coarse_bounds(), counts, static_cast<double>(sum_ns) / 1e9}; }
};

void emit(const KvmObject& object, std::span<const GuestTotals::Entry> entries, BatchWriter& out) {
  // Two CPUs may have made one reason at once.
  std::map<std::string, std::vector<std::size_t>> numbers = {{"other", {0}}};
  for (std::size_t i = 1; i < object.reasons.size(); ++i) {
    const auto& reason = object.reasons[i];
    if (now_in(reason.used) != 0) numbers[exit_reason_name(now_in(reason.isa), now_in(reason.code))].push_back(i);
  }
  std::vector<Label> labels;
  for (const auto& [name, all] : numbers)
    for (const auto& e : entries) {
      std::uint64_t count = 0;
      for (const auto i : all) count += e.shown.exits[i];
      if (count == 0) continue;
      labels.assign(1, {"reason", name});
      labels.insert(labels.end(), e.owner->labels.begin(), e.owner->labels.end());
      out.set_labels(kExits, static_cast<double>(count), labels);
    }
  const auto is_guest = [](const GuestTotals::Entry& e) {
    return std::ranges::any_of(e.shown.exits, [](auto n) { return n != 0; });
  };
  for (const auto& e : entries)
    if (is_guest(e))
      out.histogram_labels(kHandling, Shown(e.shown.handling, e.shown.handling_ns).view(), e.owner->labels);
  for (const auto& e : entries)
    if (is_guest(e)) out.histogram_labels(kWait, Shown(e.shown.wait, e.shown.wait_ns).view(), e.owner->labels);
}

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  return make_kvm(host, options, kGuestExits, emit);
}

}  // namespace

extern const CollectorInfo collector_guest_exits;
const CollectorInfo collector_guest_exits{kMetrics, kOwnerFlags, make};

}  // namespace vitald
