// SPDX-License-Identifier: Apache-2.0
// How processes of each owner begin and of what they die: counted, and those that died by a signal told as events with
// who sent it.
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "sensors/bpf/process.h"
#include "sensors/bpf/report.h"
#include "sensors/owner/totals.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "process_life";

constexpr MetricDesc kForks{"vitald_owner_forks_total",
                            MetricType::counter,
                            "Processes that the owner's processes began; threads are not counted.",
                            kOwnerLabels,
                            "",
                            "tp_btf/sched_process_fork"};
constexpr MetricDesc kExecs{"vitald_owner_execs_total",
                            MetricType::counter,
                            "Programs that the owner's processes began to run.",
                            kOwnerLabels,
                            "",
                            "tp_btf/sched_process_exec"};
constexpr MetricDesc kDeaths{
    "vitald_owner_process_deaths_total",
    MetricType::counter,
    "Ends of processes, by owner and cause: exit with status 0 (exited) or another (failed); a signal that asks to end "
    "(terminated: TERM, INT, HUP, PIPE, ...), SIGKILL (killed), a signal for what the process did itself (crashed: "
    "SEGV, "
    "ABRT, BUS, ...), or the kernel was out of memory (oom). A cause has its series from its first death.",
    "cause,owner_kind,owner,namespace,pod,container,guest",
    "",
    "tp_btf/sched_process_exit, signal_generate, mark_victim"};
constexpr MetricDesc kLost{"vitald_process_death_events_lost_total",
                           MetricType::counter,
                           "Deaths by a signal that were counted and not told as events: too many at once.",
                           "",
                           "",
                           "tp_btf/sched_process_exit"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kForks, kExecs, kDeaths, kLost};

constexpr OwnerField kFields[] = {
    {kForks, offsetof(vitald_process_row, forks)},
    {kExecs, offsetof(vitald_process_row, execs)},
    {kDeaths, offsetof(vitald_process_row, exited), 1, {"cause", "exited"}},
    {kDeaths, offsetof(vitald_process_row, failed), 1, {"cause", "failed"}},
    {kDeaths, offsetof(vitald_process_row, terminated), 1, {"cause", "terminated"}},
    {kDeaths, offsetof(vitald_process_row, killed), 1, {"cause", "killed"}},
    {kDeaths, offsetof(vitald_process_row, crashed), 1, {"cause", "crashed"}},
    {kDeaths, offsetof(vitald_process_row, oom), 1, {"cause", "oom"}},
};

std::string_view to_string(vitald_death death) {
  switch (death) {
    case VITALD_DEATH_TERMINATED: return "terminated";
    case VITALD_DEATH_KILLED: return "killed";
    case VITALD_DEATH_CRASHED: return "crashed";
    case VITALD_DEATH_OOM: return "oom";
  }
  return "killed";
}

// "SIGSEGV"; "signal 42" for one without a name.
std::string signal_name(int number) {
  if (const char* name = sigabbrev_np(number)) return fmt::format("SIG{}", name);
  return fmt::format("signal {}", number);
}

std::string_view comm_of(const char (&comm)[16]) { return {comm, strnlen(comm, sizeof comm)}; }

class ProcessLife final : public Collector {
 public:
  ProcessLife(const Host& host, SignalUse<ProcessObject> process)
      : host_(host),
        process_(std::move(process)),
        report_(kName, process_->bpf.form()),
        totals_(process_->owners->slots(), process_->owners->table(),
                [&object = *process_](std::uint32_t slot) { return object.row(slot); }) {
    const auto& facts = host.shared<KernelFacts>();
    report_.watch(facts, process_);
    process_->owners->watch(facts, report_);
    if (process_->bpf.skel().rodata->has_deaths)
      deaths_.reset(ring_buffer__new(bpf_map__fd(process_->bpf.skel().maps.deaths), take, this, nullptr));
    else report_.note("no events: they need ring buffers, Linux 5.8");
  }

  Result<> collect(BatchWriter& out) override {
    report_.emit(out);
    totals_.round(
        [&](auto&) {
          // Under the slots' lock: whose a slot is, is not known afterwards.
          taken_.clear();
          if (deaths_) ring_buffer__consume(deaths_.get());
        },
        [&](auto entries) { emit_counted_fields<vitald_process_row>(kFields, entries, out); });
    for (const auto& t : taken_) tell(t, out);
    out.set(kLost, static_cast<double>(now_in(process_->bpf.skel().bss->deaths_lost)));
    return {};
  }
  std::string status() const override { return report_.status(); }

 private:
  struct Taken {
    vitald_death_record record;
    OwnerId owner;
  };

  static int take(void* context, void* data, std::size_t size) {
    auto& self = *static_cast<ProcessLife*>(context);
    Taken t{};
    if (size < sizeof t.record) return 0;
    std::memcpy(&t.record, data, sizeof t.record);
    const auto& slots = self.process_->owners->slots();
    t.owner = slots.of_slot(t.record.slot);
    self.taken_.push_back(t);
    return 0;
  }

  void tell(const Taken& t, BatchWriter& out) const {
    const auto& r = t.record;
    const auto death = static_cast<vitald_death>(r.death);
    // That somebody was asked to end and did is how services stop.
    if (death == VITALD_DEATH_TERMINATED) return;
    const auto& table = process_->owners->table();
    const auto owner = table.at(t.owner);
    const auto signal = signal_name(static_cast<int>(r.signal & 0x7f));
    Event event;
    event.type = "process_death";
    event.boot_ns =
        host_.clock().boot_ns() - (SystemClock::read(CLOCK_MONOTONIC) - static_cast<std::int64_t>(r.boot_ns));
    const auto who = r.sender_pid != 0 ? fmt::format("{} (process {})", comm_of(r.sender_comm), r.sender_pid)
                                       : std::string("the kernel");
    event.text = fmt::format("{} (process {}) of {} died of {}, sent by {}{}", comm_of(r.comm), r.pid,
                             owner->owner.name, signal, who, death == VITALD_DEATH_OOM ? ", out of memory" : "");
    event.fields = {{"cause", std::string(to_string(death))},
                    {"signal", signal},
                    {"core", (r.signal & 0x80) != 0 ? "true" : "false"},
                    {"pid", fmt::to_string(r.pid)},
                    {"comm", std::string(comm_of(r.comm))},
                    {"owner_kind", std::string(vitald::to_string(owner->owner.kind))},
                    {"owner", owner->owner.name}};
    if (r.sender_pid != 0) {
      event.fields.insert(event.fields.end(), {{"sender_pid", fmt::to_string(r.sender_pid)},
                                               {"sender_comm", std::string(comm_of(r.sender_comm))}});
    }
    out.event(std::move(event));
  }

  const Host& host_;
  SignalUse<ProcessObject> process_;
  ProbeReport report_;
  SlotTotals<vitald_process_row> totals_;
  std::unique_ptr<ring_buffer, Call<&ring_buffer__free>> deaths_;
  std::vector<Taken> taken_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (!host.view().kernel) return fail(Errc::absent, "probe process_life: only on the running system");
  auto process = ProcessObject::use(host, options, kProcessLife);
  if (!process) return probe_off(kName, process.error());
  return std::make_unique<ProcessLife>(host, std::move(*process));
}

}  // namespace

extern const CollectorInfo collector_process_life;
const CollectorInfo collector_process_life{kMetrics, kOwnerFlags, make};

}  // namespace vitald
