// SPDX-License-Identifier: Apache-2.0
// Run-queue latency of the host, and CPU time, run-queue delay and context switches per owner, from one hook.
#include <fmt/format.h>

#include <cstddef>

#include "sensors/bpf/report.h"
#include "sensors/bpf/sched.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "runq_latency";

constexpr FlagSpec kFlags[] = {kOwnerLimitFlag, kOwnerNewFlag, kOwnerDetailedFlag, kProbeBudgetFlag};

constexpr MetricDesc kLatency{
    "vitald_sched_runqueue_latency_seconds",
    MetricType::histogram,
    "How long tasks that could run waited for a CPU, each time they got one. Of waits that end in "
    "the wake-up that began them one in seven is timed and counts as seven.",
    "",
    "seconds",
    "tp_btf/sched_switch"};
constexpr MetricDesc kCpu{"vitald_owner_cpu_seconds_total",
                          MetricType::counter,
                          "CPU time by owner.",
                          kOwnerLabels,
                          "seconds",
                          "tp_btf/sched_switch"};
constexpr MetricDesc kDelay{
    "vitald_owner_runqueue_delay_seconds_total",
    MetricType::counter,
    "Time that tasks which could run waited for a CPU, by owner, as the kernel counts it "
    "(schedstat's run_delay): without the microseconds of waits that end in a preempting wake-up.",
    kOwnerLabels,
    "seconds",
    "tp_btf/sched_switch"};
constexpr MetricDesc kSwitches{
    "vitald_owner_context_switches_total",
    MetricType::counter,
    "Context switches away from tasks of the owner, because they waited (voluntary) or were preempted.",
    "kind,owner_kind,owner,namespace,pod,container,guest",
    "",
    "tp_btf/sched_switch"};
constexpr MetricDesc kOwners{"vitald_owners",
                             MetricType::gauge,
                             "Owners that have series of their own: those with a cgroup, and those whose last one went "
                             "in the last five minutes.",
                             "",
                             "",
                             "tp_btf/sched_switch"};
constexpr MetricDesc kTurnedAway{
    "vitald_owners_turned_away_total",
    MetricType::counter,
    "Times that a cgroup or an owner found no room within --owner.limit or --owner.new-per-hour and was counted as "
    "owner=\"other\".",
    "",
    "",
    "tp_btf/sched_switch"};
constexpr MetricDesc kLumped{"vitald_owners_lumped",
                             MetricType::gauge,
                             "Cgroups that are counted as owner=\"other\" now: younger than a second, or there is no "
                             "room within --owner.limit or --owner.new-per-hour.",
                             "",
                             "",
                             "tp_btf/sched_switch"};
constexpr MetricDesc kCrowded{"vitald_owners_crowded",
                              MetricType::gauge,
                              "Units, pods and folders that have more than an eighth of --owner.limit in cgroups of "
                              "their own making: what is new in them is counted together.",
                              "",
                              "",
                              "tp_btf/sched_switch"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kLatency, kCpu,    kDelay, kSwitches, kOwners,
                                   kTurnedAway,          kLumped,  kCrowded};
// A cgroup with so much CPU time has an owner of its own even if it is gone within a second.
constexpr std::uint64_t kWorthNs = 100'000'000;

// One row here, one member of vitald_sched_row, one line in bpf/sched.bpf.c: docs/adding-a-number-per-owner.md.
constexpr OwnerField kFields[] = {
    {kCpu, offsetof(vitald_sched_row, cpu_ns), 1e9},
    {kDelay, offsetof(vitald_sched_row, delay_ns), 1e9},
    {kSwitches, offsetof(vitald_sched_row, voluntary), 1, {"kind", "voluntary"}},
    {kSwitches, offsetof(vitald_sched_row, involuntary), 1, {"kind", "involuntary"}},
};

class RunqLatency final : public Collector {
 public:
  RunqLatency(const Host& host, SignalUse<SchedObject> sched)
      : sched_(std::move(sched)),
        report_(kName, sched_->bpf.form()),
        totals_(
            sched_->owners->slots(), sched_->owners->table(),
            [&object = *sched_](std::uint32_t slot) { return object.row(slot); },
            [](const vitald_sched_row& grown) { return grown.cpu_ns >= kWorthNs; }) {
    const auto& facts = host.shared<KernelFacts>();
    report_.watch(facts, sched_);
    sched_->owners->watch(facts, report_);
    report_.note(fmt::format("{}, owners by {}",
                             facts.keeps_last_queued ? "no state per task" : "wakeups recorded per task",
                             describe(sched_->owners->v1())));
  }

  Result<> collect(BatchWriter& out) override {
    if (!report_.emit(out)) return {};
    HistSum delays;
    for (std::size_t cpu = 0; cpu < sched_->cpus.size(); ++cpu) delays.add(sched_->cpus[cpu].delay);
    out.histogram(kLatency, delays.view());

    const auto running = sched_->running();
    totals_.round([&](auto& totals) { sched_->add(running, totals); },
                  [&](auto entries) { emit_fields<vitald_sched_row>(kFields, entries, out); });

    const auto stats = sched_->owners->table().stats();
    out.set(kOwners, static_cast<double>(stats.owners));
    out.set(kTurnedAway, static_cast<double>(stats.turned_away + now_in(sched_->bpf.skel().bss->turned_away)));
    out.set(kLumped, static_cast<double>(sched_->owners->slots().lumped()));
    out.set(kCrowded, static_cast<double>(sched_->owners->slots().crowded()));
    return {};
  }
  std::string status() const override { return report_.status(); }

 private:
  SignalUse<SchedObject> sched_;
  ProbeReport report_;
  SlotTotals<vitald_sched_row> totals_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (!host.view().kernel) return fail(Errc::absent, "probe runq_latency: only on the running system");
  auto sched = SchedObject::use(host, options, kRunqLatency);
  if (!sched) return probe_off(kName, sched.error());
  return std::make_unique<RunqLatency>(host, std::move(*sched));
}

}  // namespace

extern const CollectorInfo collector_runq_latency;
const CollectorInfo collector_runq_latency{kMetrics, kFlags, make};

}  // namespace vitald
