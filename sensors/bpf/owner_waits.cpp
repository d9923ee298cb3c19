// SPDX-License-Identifier: Apache-2.0
// Why owners waited for a CPU: throttled by cpu.max, behind their own tasks, or behind others, and behind whom; and how
// long their waits were. Owners whose tasks hardly ever wait are counted together.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <vector>

#include "sensors/bpf/coarse.h"
#include "sensors/bpf/report.h"
#include "sensors/bpf/sched.h"
#include "sensors/owner/pairs.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "owner_waits";
// What an owner has to have waited to have series of its own, and to be blamed by name.
constexpr std::uint64_t kWorthNs = 100'000'000;

constexpr FlagSpec kFlags[] = {kOwnerLimitFlag, kOwnerNewFlag, kOwnerDetailedFlag};

constexpr MetricDesc kWait{
    "vitald_owner_wait_seconds_total",
    MetricType::counter,
    "Time that tasks which could run waited for a CPU, by owner and cause: its cpu.max was used up (throttled), its "
    "own "
    "tasks had the CPU (self), or others had (contention). Task time: three tasks that are throttled together count "
    "three times, which cpu.stat does not. Owners that have waited less than 100 ms are part of owner=\"other\". From "
    "where the kernel does not keep since when a task waits, nothing is throttled.",
    "cause,owner_kind,owner,namespace,pod,container,guest",
    "seconds",
    "tp_btf/sched_switch"};
constexpr MetricDesc kBlamed{
    "vitald_owner_blamed_wait_seconds_total",
    MetricType::counter,
    "Of the contention of an owner what was because of another owner, whose tasks had that CPU: the wait is laid over "
    "the "
    "last 32 slices there. The four that cost it most by name; culprit=\"other\" is the rest, and the sum is the "
    "contention.",
    "culprit_kind,culprit,owner_kind,owner,namespace,pod,container,guest",
    "seconds",
    "tp_btf/sched_switch"};
constexpr MetricDesc kLatency{"vitald_owner_runqueue_latency_seconds",
                              MetricType::histogram,
                              "How long tasks of an owner that could run waited for a CPU, each time they got one. Of "
                              "--owner.detailed cgroups; the "
                              "rest is owner=\"other\".",
                              kOwnerLabels,
                              "seconds",
                              "tp_btf/sched_switch"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kWait, kBlamed, kLatency};

struct WaitTotals {
  std::uint64_t throttled, self, contended;
  std::uint64_t slots[kCoarseBounds + 1];
  std::uint64_t sum_ns;
};
constexpr OwnerField kFields[] = {
    {kWait, offsetof(WaitTotals, contended), 1e9, {"cause", "contention"}},
    {kWait, offsetof(WaitTotals, throttled), 1e9, {"cause", "throttled"}},
    {kWait, offsetof(WaitTotals, self), 1e9, {"cause", "self"}},
};

// Reads the rows; under the slots' lock, as is all that it keeps.
class WaitReader final : public SlotReader {
 public:
  explicit WaitReader(SchedObject& object)
      : object_(object),
        totals_(object.owners->table()),
        pairs_(object.owners->table(), VITALD_CULPRITS, kWorthNs),
        culprits_(object.cpus.size() * object.detailed * VITALD_CULPRITS),
        details_(object.detailed) {
    object_.owners->slots().add(*this);
  }
  ~WaitReader() override { object_.owners->slots().remove(*this); }
  WaitReader(const WaitReader&) = delete;
  WaitReader& operator=(const WaitReader&) = delete;

  bool read(std::uint32_t slot, OwnerId owner) override {
    if (slot >= rows_.size()) rows_.resize(slot + 1);
    auto& before = rows_[slot];
    const auto now = object_.row(slot);
    const auto delay = now.delay_ns - before.delay;
    WaitTotals grown{};
    grown.throttled = now.throttled_ns - before.throttled;
    grown.self = now.self_ns - before.self;
    // The parts are written after the whole: what is not explained yet waits for the next round.
    before.open += static_cast<std::int64_t>(delay - grown.throttled - grown.self);
    if (before.open > 0) grown.contended = static_cast<std::uint64_t>(std::exchange(before.open, 0));
    before.delay = now.delay_ns, before.throttled = now.throttled_ns, before.self = now.self_ns;
    const auto who = shown(owner, delay);
    if (slot < object_.detailed) read_details(slot, who, grown);
    totals_.add(who, grown);
    pairs_.add_all(who, grown.contended);
    return delay != 0;
  }
  [[nodiscard]] bool worth_an_owner(std::uint32_t) const override { return false; }

  void collect(BatchWriter& out) {
    auto& slots = object_.owners->slots();
    slots.cycle(had_);
    slots.read_all(*this, [&] {
      totals_.begin_round();
      totals_.end_round();
      pairs_.end_round();
      emit_fields<WaitTotals>(kFields, totals_.entries(), out);
      for (const auto& e : totals_.entries())
        out.histogram_labels(kLatency, {coarse_bounds(), e.shown.slots, static_cast<double>(e.shown.sum_ns) / 1e9},
                             e.owner->labels);
      pairs_.emit(kBlamed, 1e9, out);
      const auto& table = object_.owners->table();
      std::erase_if(waited_, [&](const auto& w) { return table.at(w.first)->id != w.first; });
    });
  }

 private:
  struct Before {
    std::uint64_t delay = 0, throttled = 0, self = 0;
    std::int64_t open = 0;
  };
  using Details = std::array<std::uint64_t, kCoarseBounds + 2>;  // and the sum

  OwnerId shown(OwnerId owner, std::uint64_t delay) {
    if (owner == kOtherOwner) return owner;
    const auto waited = waited_[owner] += delay;
    return waited >= kWorthNs ? owner : kOtherOwner;
  }

  void read_details(std::uint32_t slot, OwnerId who, WaitTotals& grown) {
    Details now{};
    for (std::size_t cpu = 0; cpu < object_.cpus.size(); ++cpu) {
      auto& row = object_.waits[cpu * object_.detailed + slot];
      for (std::size_t i = 0; i < VITALD_COARSE_SLOTS; ++i) now[std::min(i, kCoarseBounds)] += now_in(row.slots[i]);
      now.back() += now_in(row.sum_ns);
      for (std::size_t k = 0; k < VITALD_CULPRITS; ++k) {
        auto& culprit = row.culprits[k];
        auto& before = culprits_[(cpu * object_.detailed + slot) * VITALD_CULPRITS + k];
        const auto whose = now_in(culprit.who);
        const auto ns = now_in(culprit.ns), more = ns - before.ns;
        before.ns = ns;
        if (whose == 0) continue;
        pairs_.add(who, object_.owners->slots().of_slot(whose - 1), more);
        // A slot that is nobody's any more, or a culprit that no longer is one, makes room for the next.
        before.quiet = more == 0 ? before.quiet + 1 : 0;
        if (before.quiet >= kQuietRounds || !object_.owners->uses(whose - 1)) {
          culprit.who = 0;
          before.quiet = 0;
        }
      }
    }
    auto& before = details_[slot];
    for (std::size_t i = 0; i <= kCoarseBounds; ++i) grown.slots[i] = now[i] - before[i];
    grown.sum_ns = now.back() - before.back();
    before = now;
  }

  static constexpr std::uint32_t kQuietRounds = 4;
  struct Culprit {
    std::uint64_t ns = 0;
    std::uint32_t quiet = 0;
  };

  SchedObject& object_;
  OwnerTotals<WaitTotals> totals_;
  OwnerPairs pairs_;
  std::vector<Culprit> culprits_;  // per CPU, slot and place
  std::vector<Details> details_;   // per slot
  std::vector<Before> rows_;       // per slot, as far as they are used
  std::unordered_map<OwnerId, std::uint64_t> waited_;
  std::uint64_t had_ = 0;
};

class OwnerWaits final : public Collector {
 public:
  OwnerWaits(const Host& host, SignalUse<SchedObject> sched)
      : sched_(std::move(sched)), report_(kName, sched_->bpf.form()), reader_(*sched_) {
    const auto& facts = host.shared<KernelFacts>();
    report_.watch(facts, sched_);
    if (!facts.keeps_last_queued) report_.note("waits by wakeup, throttling is not told apart");
  }
  Result<> collect(BatchWriter& out) override {
    report_.emit(out);
    reader_.collect(out);
    return {};
  }
  std::string status() const override { return report_.status(); }

 private:
  SignalUse<SchedObject> sched_;
  ProbeReport report_;
  WaitReader reader_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (!host.view().kernel) return fail(Errc::absent, "probe owner_waits: only on the running system");
  auto sched = SchedObject::use(host, options, kOwnerWaits);
  if (!sched) return probe_off(kName, sched.error());
  return std::make_unique<OwnerWaits>(host, std::move(*sched));
}

}  // namespace

extern const CollectorInfo collector_owner_waits;
const CollectorInfo collector_owner_waits{kMetrics, kFlags, make};

}  // namespace vitald
