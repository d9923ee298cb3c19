// SPDX-License-Identifier: Apache-2.0
// How processes of each owner begin and of what they die: counted, and those that died by a signal told as events with
// who sent it.
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <span>
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
    "(terminated: TERM, INT, HUP, QUIT, PIPE, ...), SIGKILL (killed), a signal for what the process did itself "
    "(crashed: SEGV, ABRT, BUS, ...; sent by another process it counts as killed, unless more than a thousand such "
    "signals were on their way), or the kernel was out of memory (oom). A cause has its series from its first death.",
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

// With those that were marked as out of memory when they were counted already.
struct Counted {
  vitald_process_row row;
  std::uint64_t marked_late;
};
constexpr OwnerField kFields[] = {
    {kForks, offsetof(Counted, row.forks)},
    {kExecs, offsetof(Counted, row.execs)},
    {kDeaths, offsetof(Counted, row.exited), 1, {"cause", "exited"}},
    {kDeaths, offsetof(Counted, row.failed), 1, {"cause", "failed"}},
    {kDeaths, offsetof(Counted, row.terminated), 1, {"cause", "terminated"}},
    {kDeaths, offsetof(Counted, row.killed), 1, {"cause", "killed"}},
    {kDeaths, offsetof(Counted, row.crashed), 1, {"cause", "crashed"}},
    {kDeaths, offsetof(Counted, row.oom), 1, {"cause", "oom"}},
};

std::string_view to_string(vitald_death death) {
  switch (death) {
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

// A reader of slots for one thing: before a slot is another's, what names it is told.
class ProcessLife final : public Collector, private SlotReader {
 public:
  ProcessLife(const Host& host, SignalUse<ProcessObject> process)
      : host_(host),
        process_(std::move(process)),
        report_(kName, process_->bpf.form()),
        totals_(process_->owners->slots(), process_->owners->table(), [&object = *process_](std::uint32_t slot) {
          return Counted{object.row(slot), now_in(object.marked_late[slot])};
        }) {
    const auto& facts = host.shared<KernelFacts>();
    report_.watch(facts, process_);
    process_->owners->watch(facts, report_);
    if (process_->bpf.skel().rodata->has_deaths) {
      deaths_.reset(ring_buffer__new(bpf_map__fd(process_->bpf.skel().maps.deaths), take, this, nullptr));
      // It may have been on before: what still lies there is not of now, and whose it was is not known any more.
      if (deaths_) ring_buffer__consume(deaths_.get());
      keeps_ = true;
    } else {
      report_.note("no events: they need ring buffers, Linux 5.8");
    }
    process_->owners->slots().add(*this);
  }
  ~ProcessLife() override { process_->owners->slots().remove(*this); }
  ProcessLife(const ProcessLife&) = delete;
  ProcessLife& operator=(const ProcessLife&) = delete;

  Result<> collect(BatchWriter& out) override {
    // Read while it is off as well: what happened before is told, and news that nobody takes would wake us for ever.
    const bool on = report_.emit(out);
    std::vector<Taken> taken;
    std::uint64_t left_out = 0;
    totals_.round(
        [&](auto&) {
          // Under the slots' lock: whose a slot is, is not known afterwards.
          if (deaths_) ring_buffer__consume(deaths_.get());
          taken.swap(taken_);
          left_out = left_out_;
        },
        [&](auto entries) {
          if (on) emit(entries, out);
        });
    for (const auto& t : taken) tell(t, out);
    if (on) out.set(kLost, static_cast<double>(now_in(process_->bpf.skel().bss->deaths_lost) + left_out));
    return {};
  }
  std::string status() const override { return report_.status(); }
  // So that a death is told when it happens and not at the next cycle.
  int news_fd() const override { return deaths_ ? ring_buffer__epoll_fd(deaths_.get()) : -1; }

 private:
  struct Taken {
    vitald_death_record record;
    OwnerId owner;
    std::string cgroup;  // empty: no slot was left for it
  };

  bool read(std::uint32_t, OwnerId) override { return false; }
  [[nodiscard]] bool worth_an_owner(std::uint32_t) const override { return false; }
  void end(std::span<const std::uint32_t>) override {
    if (deaths_) ring_buffer__consume(deaths_.get());
  }

  // Those that were marked late are no longer killed, but no counter goes back.
  void emit(std::span<const OwnerTotals<Counted>::Entry> entries, BatchWriter& out) {
    std::vector<OwnerTotals<Counted>::Entry> shown(entries.begin(), entries.end());
    std::map<OwnerId, std::uint64_t> killed;
    for (auto& e : shown) {
      auto& row = e.shown.row;
      row.oom += e.shown.marked_late;
      row.killed -= std::min<std::uint64_t>(row.killed, e.shown.marked_late);
      if (const auto before = killed_.find(e.owner->id); before != killed_.end())
        row.killed = std::max<std::uint64_t>(row.killed, before->second);
      if (row.killed != 0) killed[e.owner->id] = row.killed;
    }
    killed_ = std::move(killed);
    emit_counted_fields<Counted>(kFields, shown, out);
  }

  static int take(void* context, void* data, std::size_t size) {
    auto& self = *static_cast<ProcessLife*>(context);
    Taken t{};
    if (!self.keeps_ || size < sizeof t.record) return 0;
    if (self.taken_.size() >= kMostTaken) return ++self.left_out_, 0;
    std::memcpy(&t.record, data, sizeof t.record);
    const auto& slots = self.process_->owners->slots();
    t.owner = slots.of_slot(t.record.slot);
    if (const auto* paths = slots.paths(t.record.slot)) t.cgroup = cgroup_of(*paths);
    self.taken_.push_back(std::move(t));
    return 0;
  }

  void tell(const Taken& t, BatchWriter& out) const {
    const auto& r = t.record;
    const auto death = static_cast<vitald_death>(r.death);
    const auto& table = process_->owners->table();
    const auto owner = table.at(t.owner);
    const auto signal = signal_name(static_cast<int>(r.signal & 0x7f));
    Event event;
    event.type = "process_death";
    event.boot_ns =
        host_.clock().boot_ns() - (SystemClock::read(CLOCK_MONOTONIC) - static_cast<std::int64_t>(r.boot_ns));
    const auto who = r.sender_pid != 0 ? fmt::format("{} (process {})", comm_of(r.sender_comm), r.sender_pid)
                                       : std::string("the kernel");
    // An owner that is too young to have series of its own has a name all the same.
    const bool is_young = t.owner == kOtherOwner && !t.cgroup.empty();
    const auto whose = is_young ? t.cgroup : owner->owner.name;
    event.text = fmt::format("{} (process {}) of {} died of {}, sent by {}{}", comm_of(r.comm), r.pid, whose, signal,
                             who, death == VITALD_DEATH_OOM ? ", out of memory" : "");
    event.fields = {{"cause", std::string(to_string(death))},
                    {"signal", signal},
                    {"core", (r.signal & 0x80) != 0 ? "true" : "false"},
                    {"pid", fmt::to_string(r.pid)},
                    {"comm", std::string(comm_of(r.comm))},
                    {"owner_kind", std::string(vitald::to_string(owner->owner.kind))},
                    {"owner", owner->owner.name}};
    if (!t.cgroup.empty()) event.fields.emplace_back("cgroup", t.cgroup);
    if (r.sender_pid != 0) {
      event.fields.insert(event.fields.end(), {{"sender_pid", fmt::to_string(r.sender_pid)},
                                               {"sender_comm", std::string(comm_of(r.sender_comm))}});
    }
    out.event(std::move(event));
  }

  const Host& host_;
  SignalUse<ProcessObject> process_;
  ProbeReport report_;
  SlotTotals<Counted> totals_;
  std::unique_ptr<ring_buffer, Call<&ring_buffer__free>> deaths_;
  static constexpr std::size_t kMostTaken = 1024;  // of one cycle
  bool keeps_ = false;                             // what it takes
  std::vector<Taken> taken_;                       // under the slots' lock
  std::uint64_t left_out_ = 0;                     // the same
  std::map<OwnerId, std::uint64_t> killed_;        // as shown
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
