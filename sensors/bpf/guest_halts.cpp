// SPDX-License-Identifier: Apache-2.0
// How the halts of each guest's virtual CPUs end: while the host still polls, which costs it CPU time, or after it
// slept.
#include <cstddef>

#include "sensors/bpf/kvm.h"

namespace vitald {
namespace {

constexpr MetricDesc kHalts{"vitald_owner_vcpu_halts_total",
                            MetricType::counter,
                            "Halts of virtual CPUs of the owner that the kernel waited out, by what the host was doing "
                            "when there was something "
                            "to do again: polling, which keeps a CPU busy (halt_poll_ns of the module kvm), or asleep.",
                            "woken,owner_kind,owner,namespace,pod,container,guest",
                            "",
                            "raw_tp/kvm_vcpu_wakeup"};
constexpr MetricDesc kTime{
    "vitald_owner_vcpu_halt_seconds_total",
    MetricType::counter,
    "How long they lasted. Those that ended while the host was polling have taken that much CPU time of it.",
    "woken,owner_kind,owner,namespace,pod,container,guest",
    "seconds",
    "raw_tp/kvm_vcpu_wakeup"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kHalts, kTime};

constexpr OwnerField kFields[] = {
    {kHalts, offsetof(vitald_guest_row, polled_count), 1, {"woken", "polling"}},
    {kHalts, offsetof(vitald_guest_row, slept_count), 1, {"woken", "asleep"}},
    {kTime, offsetof(vitald_guest_row, polled_ns), 1e9, {"woken", "polling"}},
    {kTime, offsetof(vitald_guest_row, slept_ns), 1e9, {"woken", "asleep"}},
};

void emit(const KvmObject&, std::span<const GuestTotals::Entry> entries, BatchWriter& out) {
  emit_counted_fields<vitald_guest_row>(kFields, entries, out);
}

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  return make_kvm(host, options, kGuestHalts, emit);
}

}  // namespace

extern const CollectorInfo collector_guest_halts;
const CollectorInfo collector_guest_halts{kMetrics, kOwnerFlags, make};

}  // namespace vitald
