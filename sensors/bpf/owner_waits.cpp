// SPDX-License-Identifier: Apache-2.0
// Why owners waited for a CPU: throttled by cpu.max, behind their own tasks, or behind others, and behind whom, as far
// as that was seen; and how long their waits were. Owners whose tasks hardly ever wait are counted together.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sensors/bpf/coarse.h"
#include "sensors/bpf/sched_reading.h"
#include "sensors/owner/pairs.h"

namespace vitald {
namespace {

// What an owner has to have waited to have series of its own, and to be blamed by name.
constexpr std::uint64_t kWorthNs = 100'000'000;

constexpr FlagSpec kFlags[] = {kOwnerLimitFlag, kOwnerNewFlag, kOwnerDetailedFlag, kProbeBudgetFlag};

constexpr MetricDesc kWait{
    "vitald_owner_wait_seconds_total",
    MetricType::counter,
    "Time that tasks which could run waited for a CPU, by owner and cause: its cpu.max was used up (throttled), its "
    "own tasks had the CPU (self), others were seen to have it (contention), or neither is known (unknown: the CPU was "
    "idle or just leaving it, or the wait is longer than the last 32 slices on that CPU, which many short ones are). "
    "The "
    "four together are all of its waiting, but for what a task waited before it was moved to another CPU while it "
    "waited. Task time: three tasks that are throttled together count "
    "three times, which cpu.stat does not. Owners that have waited less than 100 ms are part of owner=\"other\". From "
    "where the kernel does not keep since when a task waits, nothing is throttled.",
    "cause,owner_kind,owner,namespace,pod,container,guest",
    "seconds",
    "tp_btf/sched_switch"};
constexpr MetricDesc kBlamed{
    "vitald_owner_blamed_wait_seconds_total",
    MetricType::counter,
    "Of the contention of an owner what was because of another owner, whose tasks had that CPU: the wait is laid over "
    "the last 32 slices there, and what is older is no contention but cause=\"unknown\". The four that cost it most by "
    "name; culprit=\"other\" is the rest, also of cgroups beyond "
    "--owner.detailed. Together they grow by what the contention grows by; one that is named no more ends with its "
    "series.",
    "culprit_kind,culprit,owner_kind,owner,namespace,pod,container,guest",
    "seconds",
    "tp_btf/sched_switch"};
constexpr MetricDesc kLatency{"vitald_owner_runqueue_latency_seconds",
                              MetricType::histogram,
                              "How long tasks of an owner that could run waited for a CPU, each time they got one. Of "
                              "--owner.detailed cgroups; the waits of all others are in owner=\"other\".",
                              kOwnerLabels,
                              "seconds",
                              "tp_btf/sched_switch"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kWait, kBlamed, kLatency};

struct WaitTotals {
  std::uint64_t throttled, self, contended, unknown;
  std::uint64_t slots[kCoarseBounds + 1];
  std::uint64_t sum_ns;
};
constexpr OwnerField kFields[] = {
    {kWait, offsetof(WaitTotals, contended), 1e9, {"cause", "contention"}},
    {kWait, offsetof(WaitTotals, throttled), 1e9, {"cause", "throttled"}},
    {kWait, offsetof(WaitTotals, self), 1e9, {"cause", "self"}},
    {kWait, offsetof(WaitTotals, unknown), 1e9, {"cause", "unknown"}},
};

// Reads the rows; under the slots' lock, as is all that it keeps.
class WaitReader final : public SlotReader {
 public:
  WaitReader(const Host& host, SchedObject& object)
      : clock_(host.clock()),
        object_(object),
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
    if (!on_) return false;
    if (slot >= rows_.size()) rows_.resize(slot + 1);
    auto& before = rows_[slot];
    const auto now = object_.row(slot);
    const auto delay = now.delay_ns - before.delay;
    WaitTotals grown{};
    grown.throttled = now.throttled_ns - before.throttled;
    grown.self = now.self_ns - before.self;
    const auto others = now.others_ns - before.others;
    // The parts are written after the whole: what is not explained yet waits for the next round.
    const auto open = before.open + static_cast<std::int64_t>(delay - grown.throttled - grown.self - others);
    grown.unknown = static_cast<std::uint64_t>(std::max<std::int64_t>(0, std::min(before.open, open)));
    before.open = open - static_cast<std::int64_t>(grown.unknown);
    const auto who = shown(owner, delay);
    // Whose it was may be seen before how much that is.
    before.contended += static_cast<std::int64_t>(others);
    if (slot < object_.detailed) before.contended -= static_cast<std::int64_t>(read_details(slot, owner, who, grown));
    if (before.contended > 0) grown.contended = static_cast<std::uint64_t>(std::exchange(before.contended, 0));
    before.delay = now.delay_ns, before.throttled = now.throttled_ns, before.self = now.self_ns;
    before.others = now.others_ns;
    totals_.add(who, grown);
    pairs_.add_all(who, grown.contended);
    return delay != 0;
  }
  [[nodiscard]] bool worth_an_owner(std::uint32_t) const override { return false; }

  void begin(std::uint32_t slot) override {
    if (slot >= rows_.size()) rows_.resize(slot + 1);
    const auto now = object_.row(slot);
    rows_[slot] = {now.delay_ns, now.throttled_ns, now.self_ns, now.others_ns, 0, 0};
    if (slot >= object_.detailed) return;
    details_[slot] = details(slot);
    each_culprit(slot, [&](auto& culprit, Culprit& before) {
      before = {now_in(culprit.ns), clock_.boot_ns()};
      culprit.who = 0;
    });
  }

  // Who is blamed is known by his slot.
  void end(std::span<const std::uint32_t> slots) override {
    std::vector<bool> ended(object_.owners->size());
    for (const auto slot : slots) ended[slot] = true;
    for (std::uint32_t slot = 0; slot < std::min<std::size_t>(object_.detailed, rows_.size()); ++slot) {
      read(slot, object_.owners->slots().of_slot(slot));
      each_culprit(slot, [&](auto& culprit, Culprit&) {
        const auto who = now_in(culprit.who);
        if (who != 0 && (ended[slot] || ended[who - 1])) culprit.who = 0;
      });
    }
  }

  // The wait goes on to be counted while runq_latency is on, and why is not.
  void turned(bool on) {
    auto& slots = object_.owners->slots();
    slots.cycle(had_);
    if (on) slots.restart(*this, [&] { on_ = true; });
    else slots.read_all(*this, [&] { on_ = false; });
  }

  void collect(BatchWriter& out) {
    auto& slots = object_.owners->slots();
    slots.cycle(had_);
    slots.read_all(*this, [&] {
      totals_.begin_round();
      totals_.end_round();
      pairs_.end_round(clock_.boot_ns());
      emit_fields<WaitTotals>(kFields, totals_.entries(), out);
      for (const auto& e : totals_.entries()) {
        // None of its cgroups is among those of which it is kept: its waits are with "other".
        if (e.owner->id != kOtherOwner && std::ranges::all_of(e.shown.slots, [](auto n) { return n == 0; })) continue;
        out.histogram_labels(kLatency, {coarse_bounds(), e.shown.slots, static_cast<double>(e.shown.sum_ns) / 1e9},
                             e.owner->labels);
      }
      pairs_.emit(kBlamed, 1e9, out);
      const auto& table = object_.owners->table();
      std::erase_if(waited_, [&](const auto& w) { return table.at(w.first)->id != w.first; });
    });
  }
  static std::string note(const KernelFacts& facts) {
    return facts.keeps_last_queued ? "" : "waits by wakeup, throttling is not told apart";
  }

 private:
  struct Before {
    std::uint64_t delay = 0, throttled = 0, self = 0, others = 0;
    std::int64_t open = 0, contended = 0;  // not counted yet: what is not explained; what others had
  };
  using Details = std::array<std::uint64_t, kCoarseBounds + 2>;  // and the sum
  struct Culprit {
    std::uint64_t ns = 0;
    std::int64_t grown_ns = 0;  // when it last did
  };

  OwnerId shown(OwnerId owner, std::uint64_t delay) {
    if (owner == kOtherOwner) return owner;
    const auto waited = waited_[owner] += delay;
    return waited >= kWorthNs ? owner : kOtherOwner;
  }

  template <class F>
  void each_culprit(std::uint32_t slot, F&& f) {
    for (std::size_t cpu = 0; cpu < object_.cpus.size(); ++cpu)
      for (std::size_t k = 0; k < VITALD_CULPRITS; ++k) {
        const auto at = cpu * object_.detailed + slot;
        f(object_.waits[at].culprits[k], culprits_[at * VITALD_CULPRITS + k]);
      }
  }

  [[nodiscard]] Details details(std::uint32_t slot) const {
    Details now{};
    for (std::size_t cpu = 0; cpu < object_.cpus.size(); ++cpu) {
      const auto& row = object_.waits[cpu * object_.detailed + slot];
      for (std::size_t i = 0; i < VITALD_COARSE_SLOTS; ++i) now[std::min(i, kCoarseBounds)] += now_in(row.slots[i]);
      now.back() += now_in(row.sum_ns);
    }
    return now;
  }

  // How much of what others had was the owner's own after all.
  std::uint64_t read_details(std::uint32_t slot, OwnerId owner, OwnerId who, WaitTotals& grown) {
    const auto now_ns = clock_.boot_ns();
    std::uint64_t own = 0;
    each_culprit(slot, [&](auto& culprit, Culprit& before) {
      const auto whose = now_in(culprit.who);
      const auto ns = now_in(culprit.ns), more = ns - before.ns;
      before.ns = ns;
      if (whose == 0) return;
      const auto by = object_.owners->slots().of_slot(whose - 1);
      // Of before the kernel's side was told that both are one's.
      if (by == owner && owner != kOtherOwner) own += more;
      else pairs_.add(who, by, more);
      // One that is none any more makes room for the next.
      if (more != 0) before.grown_ns = now_ns;
      else if (now_ns - before.grown_ns >= kQuietNs) culprit.who = 0, before.grown_ns = now_ns;
    });
    const auto now = details(slot);
    auto& before = details_[slot];
    for (std::size_t i = 0; i <= kCoarseBounds; ++i) grown.slots[i] = now[i] - before[i];
    grown.sum_ns = now.back() - before.back();
    before = now;
    grown.self += own;
    return own;
  }

  static constexpr std::int64_t kQuietNs = 60'000'000'000;

  const Clock& clock_;
  SchedObject& object_;
  OwnerTotals<WaitTotals> totals_;
  OwnerPairs pairs_;
  std::vector<Culprit> culprits_;  // per CPU, slot and place
  std::vector<Details> details_;   // per slot
  std::vector<Before> rows_;       // per slot, as far as they are used
  std::unordered_map<OwnerId, std::uint64_t> waited_;
  std::uint64_t had_ = 0;
  bool on_ = true;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  return SchedReading<WaitReader>::make(host, options, kOwnerWaits);
}

}  // namespace

extern const CollectorInfo collector_owner_waits;
const CollectorInfo collector_owner_waits{kMetrics, kFlags, make};

}  // namespace vitald
