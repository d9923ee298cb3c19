// SPDX-License-Identifier: Apache-2.0
// Run-queue latency of the host, and CPU time, run-queue delay and context switches per owner, from one hook.
#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/text/scan.h"
#include "sensors/bpf/report.h"
#include "sensors/bpf/sched.h"
#include "sensors/bpf/worst.h"
#include "sensors/power/cpu_speed.h"
#include "sensors/read/cpu_packages.h"

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
    "(schedstat's run_delay): without the microseconds of waits that end in a preempting wake-up, and without what a "
    "task waited before it was moved to another CPU while it waited, which is most of it for a task that is seldom "
    "let run and moved often (node_schedstat_waiting_seconds_total has that as well, of all tasks together).",
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
constexpr MetricDesc kLumped{
    "vitald_owners_lumped",
    MetricType::gauge,
    "Cgroups with a slot that are counted as owner=\"other\" now: younger than a second, not seen by a scrape or a "
    "cycle since then, or "
    "there is no room within --owner.limit or --owner.new-per-hour. Those without a slot, when "
    "vitald_owner_slots_free is 0, are not among them: vitald_owners_turned_away_total grows.",
    "",
    "",
    "tp_btf/sched_switch"};
constexpr MetricDesc kSlotsFree{"vitald_owner_slots_free",
                                MetricType::gauge,
                                "Places for cgroups that nobody has. At 0, all that begins is owner=\"other\" until a "
                                "cgroup goes.",
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
// For those who divide what a processor used.
constexpr MetricDesc kPackageCpu{
    "vitald_owner_package_cpu_seconds_total",
    MetricType::counter,
    "CPU time by owner and processor; an empty package: on all of them. Where it is known how "
    "fast each CPU ran, as much as at the nominal clock had the same cycles.",
    "id,package,owner_kind,owner,namespace,pod,container,guest",
    "seconds",
    "tp_btf/sched_switch",
    Shown::inside};
constexpr MetricDesc kPackageWeight{"vitald_package_cpu_weight",
                                    MetricType::gauge,
                                    "By what vitald_owner_package_cpu_seconds_total is told, 1.",
                                    "weight",
                                    "",
                                    "perf_event_open(2)",
                                    Shown::inside};
constexpr MetricDesc kPackageCpus{"vitald_package_cpus",
                                  MetricType::gauge,
                                  "CPUs of a processor.",
                                  "package",
                                  "",
                                  "/sys/devices/system/cpu/cpu*/topology/physical_package_id",
                                  Shown::inside};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kLatency, kCpu,       kDelay,   kSwitches,   kOwners,
                                   kTurnedAway,          kLumped,  kSlotsFree, kCrowded, kPackageCpu, kPackageCpus,
                                   kPackageWeight};
// A cgroup with so much CPU time has an owner of its own even if it is gone within a second.
constexpr std::uint64_t kWorthNs = 100'000'000;

// One row here, one member of vitald_sched_row, one line in bpf/sched.bpf.c: docs/adding-a-number-per-owner.md.
constexpr OwnerField kFields[] = {
    {kCpu, offsetof(vitald_sched_row, cpu_ns), 1e9},
    {kDelay, offsetof(vitald_sched_row, delay_ns), 1e9},
    {kSwitches, offsetof(vitald_sched_row, voluntary), 1, {"kind", "voluntary"}},
    {kSwitches, offsetof(vitald_sched_row, involuntary), 1, {"kind", "involuntary"}},
};

// What an owner has counted, and where.
struct OwnerRow {
  vitald_sched_row sched;
  std::uint64_t package_ns[CpuPackages::kMost];
};
static_assert(offsetof(OwnerRow, sched) == 0, "kFields are offsets in vitald_sched_row");

class RunqLatency final : public Collector {
 public:
  RunqLatency(const Host& host, SignalUse<SchedObject> sched)
      : sched_(std::move(sched)),
        report_(kName, sched_->bpf.form()),
        packages_(host, sched_->cpus.size()),
        speed_(CpuSpeed::make(host, sched_->cpus.size(), open_perf_event)),
        totals_(
            sched_->owners->slots(), sched_->owners->table(), [this](std::uint32_t slot) { return row(slot); },
            [](const OwnerRow& grown) { return grown.sched.cpu_ns >= kWorthNs; }) {
    const auto& facts = host.shared<KernelFacts>();
    report_.watch(facts, sched_);
    sched_->owners->watch(facts, report_);
    report_.note(fmt::format("{}, owners by {}",
                             facts.keeps_last_queued ? "no state per task" : "wakeups recorded per task",
                             describe(sched_->owners->v1())));
  }

  Result<> collect(BatchWriter& out) override {
    if (!report_.emit(out)) return {};
    if (speed_) speed_->read();
    const auto running = sched_->running();
    totals_.round(
        [&](auto& totals) {
          sched_->each_running(running, [&](OwnerId owner, std::size_t cpu, std::uint64_t ns) {
            OwnerRow slice{};
            slice.sched.cpu_ns = ns;
            slice.package_ns[packages_.of(cpu)] = speed_ ? by_speed(cpu, ns) : ns;
            totals.add_running(owner, slice);
          });
        },
        [&](auto entries) {
          emit_latency(out);
          emit_fields<OwnerRow>(kFields, entries, out);
          emit_packages(entries, out);
        });

    const auto stats = sched_->owners->table().stats();
    out.set(kOwners, static_cast<double>(stats.owners));
    out.set(kTurnedAway, static_cast<double>(stats.turned_away + now_in(sched_->bpf.skel().bss->turned_away)));
    out.set(kLumped, static_cast<double>(sched_->owners->slots().lumped()));
    out.set(kSlotsFree, static_cast<double>(sched_->owners->slots().unused()));
    out.set(kCrowded, static_cast<double>(sched_->owners->slots().crowded()));
    return {};
  }
  std::string status() const override { return report_.status(); }

 private:
  // What a slot has counted, all CPUs added up.
  [[nodiscard]] OwnerRow row(std::uint32_t slot) {
    OwnerRow sum{};
    for (std::size_t cpu = 0; cpu < sched_->cpus.size(); ++cpu) {
      const vitald_sched_row one = sched_->rows[cpu * sched_->owners->size() + slot];
      sum.sched = OwnerTotals<vitald_sched_row>::sum(sum.sched, one);
      sum.package_ns[packages_.of(cpu)] +=
          speed_ ? paced_.of(slot * sched_->cpus.size() + cpu, one.cpu_ns, speed_->of(cpu)) : one.cpu_ns;
    }
    return sum;
  }
  [[nodiscard]] std::uint64_t by_speed(std::size_t cpu, std::uint64_t ns) const {
    return static_cast<std::uint64_t>(static_cast<double>(ns) * speed_->of(cpu));
  }
  // Under the slots' lock, for whose a slot was. An exemplar is counted in its bucket: so it is taken first.
  void emit_latency(BatchWriter& out) {
    const auto boot_ns = SystemClock::read(CLOCK_BOOTTIME);
    HistSum delays;
    for (std::size_t cpu = 0; cpu < sched_->cpus.size(); ++cpu) {
      auto& counted = sched_->cpus[cpu];
      if (const auto worst = take_worst(counted.worst, boot_ns)) {
        const auto id = sched_->owners->slots().of_slot_at(worst->slot, static_cast<std::int64_t>(worst->at_ns));
        const auto owner = id ? sched_->owners->table().at(*id) : nullptr;
        slowest_.add(*worst, exemplar_labels(*worst, owner ? &owner->owner : nullptr));
      }
      delays.add(counted.delay);
    }
    const auto exemplars = slowest_.exemplars();
    out.histogram(kLatency, delays.view(exemplars));
  }
  void emit_packages(std::span<const OwnerTotals<OwnerRow>::Entry> entries, BatchWriter& out) const {
    const auto names = packages_.names();
    for (const auto& e : entries) {
      const Decimal id(e.owner->id);
      std::array<Label, 8> labels;
      labels[0] = {"id", id};
      for (std::size_t p = 0; p < names.size(); ++p) {
        labels[1] = {"package", names[p]};
        const auto end = std::ranges::copy(e.owner->labels, labels.begin() + 2).out;
        out.set_labels(kPackageCpu, static_cast<double>(e.shown.package_ns[p]) / 1e9, std::span(labels.begin(), end));
      }
    }
    out.set(kPackageWeight, 1, speed_ ? speed_->weight() : "cpu_time");
    for (std::size_t p = 0; p < names.size(); ++p)
      out.set(kPackageCpus, static_cast<double>(packages_.cpus(p)), names[p]);
  }

  SignalUse<SchedObject> sched_;
  ProbeReport report_;
  Slowest slowest_;
  const CpuPackages packages_;
  const std::unique_ptr<CpuSpeed> speed_;  // null: not known here
  PacedTime paced_;                        // by slot and CPU, under the slots' lock
  SlotTotals<OwnerRow> totals_;
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
