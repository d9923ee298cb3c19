// SPDX-License-Identifier: Apache-2.0
// How often tasks of each owner were moved to another CPU.
#include "sensors/bpf/report.h"
#include "sensors/bpf/sched.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "migrations";

constexpr FlagSpec kFlags[] = {kOwnerLimitFlag, kOwnerNewFlag, kOwnerDetailedFlag, kProbeBudgetFlag};

constexpr MetricDesc kMoved{"vitald_owner_migrations_total",
                            MetricType::counter,
                            "Times that a task of the owner was moved to another CPU.",
                            kOwnerLabels,
                            "",
                            "tp_btf/sched_migrate_task"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kMoved};

struct Moved {
  std::uint64_t count;
};
constexpr OwnerField kFields[] = {{kMoved, offsetof(Moved, count)}};

class Migrations final : public Collector {
 public:
  Migrations(const Host& host, SignalUse<SchedObject> sched)
      : sched_(std::move(sched)),
        report_(kName, sched_->bpf.form()),
        totals_(sched_->owners->slots(), sched_->owners->table(), [&object = *sched_](std::uint32_t slot) {
          Moved sum{};
          for (std::size_t cpu = 0; cpu < object.cpus.size(); ++cpu)
            sum.count += now_in(object.migrations[cpu * object.owners->size() + slot]);
          return sum;
        }) {
    report_.watch(host.shared<KernelFacts>(), sched_);
  }
  Result<> collect(BatchWriter& out) override {
    if (!report_.emit(out)) return {};
    totals_.round([](auto&) {}, [&](auto entries) { emit_fields<Moved>(kFields, entries, out); });
    return {};
  }
  std::string status() const override { return report_.status(); }

 private:
  SignalUse<SchedObject> sched_;
  ProbeReport report_;
  SlotTotals<Moved> totals_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (!host.view().kernel) return fail(Errc::absent, "probe migrations: only on the running system");
  auto sched = SchedObject::use(host, options, kMigrations);
  if (!sched) return probe_off(kName, sched.error());
  return std::make_unique<Migrations>(host, std::move(*sched));
}

}  // namespace

extern const CollectorInfo collector_migrations;
const CollectorInfo collector_migrations{kMetrics, kFlags, make};

}  // namespace vitald
