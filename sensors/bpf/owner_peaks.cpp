// SPDX-License-Identifier: Apache-2.0
// The busiest tenth of a second: what a mean over a scrape interval hides, of the host and of each owner.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>
#include <vector>

#include "sensors/bpf/sched_reading.h"
#include "sensors/bpf/windows.h"
#include "sensors/read/cpu_list.h"

namespace vitald {
namespace {

constexpr std::size_t kShownWindows = 250;  // 25 s: fewer than the ring has, by some that are still written to
constexpr double kWorth = 0.1;              // of a CPU in some window: what has an owner series of its own

constexpr FlagSpec kFlags[] = {kOwnerLimitFlag, kOwnerNewFlag, kOwnerDetailedFlag, kProbeBudgetFlag};

constexpr MetricDesc kHost{
    "vitald_host_cpu_peak_ratio",
    MetricType::gauge,
    "Part of all CPUs together that was busy in windows of 100 ms, of the last 25 s: the busiest "
    "(max), and what one in a hundred is above (p99).",
    "stat",
    "ratio",
    "tp_btf/sched_switch"};
constexpr MetricDesc kCpu{"vitald_cpu_peak_ratio",
                          MetricType::gauge,
                          "Part of the time that one CPU was busy in windows of 100 ms, of the last 25 s and all CPUs.",
                          "stat",
                          "ratio",
                          "tp_btf/sched_switch"};
constexpr MetricDesc kOwner{"vitald_owner_cpu_peak_ratio",
                            MetricType::gauge,
                            "CPU time per time of an owner's tasks in windows of 100 ms, of the last 25 s; 1 is a "
                            "whole CPU. Of --owner.detailed "
                            "cgroups, and from the first time that an owner has had a tenth of a CPU.",
                            "stat,owner_kind,owner,namespace,pod,container,guest",
                            "ratio",
                            "tp_btf/sched_switch"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kHost, kCpu, kOwner};

struct Peak {
  double max = 0, p99 = 0;
};
// Of windows in ns. The order is lost.
Peak peak_of(std::vector<double>& ns) {
  const auto rank = ns.begin() + static_cast<std::ptrdiff_t>(ns.size() - 1 - ns.size() / 100);
  std::ranges::nth_element(ns, rank);
  return {*std::max_element(rank, ns.end()) / VITALD_WINDOW_NS, *rank / VITALD_WINDOW_NS};
}

// Whose each slot is. The kernel's rows keep the windows of whoever had the slot before.
class PeakReader final : public SlotReader {
 public:
  PeakReader(const Host& host, SchedObject& object)
      : clock_(host.clock()),
        object_(object),
        online_(host, "online"),
        began_(object.running().clock_ns / VITALD_WINDOW_NS + 1),
        slots_(object.detailed) {
    object_.owners->slots().add(*this);
  }
  ~PeakReader() override { object_.owners->slots().remove(*this); }
  PeakReader(const PeakReader&) = delete;
  PeakReader& operator=(const PeakReader&) = delete;

  bool read(std::uint32_t slot, OwnerId owner) override {
    if (slot == 0 || slot >= slots_.size()) return false;
    slots_[slot] = {owner, since(slot), round_};
    return false;
  }
  [[nodiscard]] bool worth_an_owner(std::uint32_t) const override { return false; }

  // The windows meanwhile were not counted, and must not look like quiet ones.
  void turned(bool on) {
    if (on) began_ = object_.running().clock_ns / VITALD_WINDOW_NS + 1;
  }

  void collect(BatchWriter& out) {
    const auto running = object_.running();
    if (running.clock_ns == 0) return;
    window_ = running.clock_ns / VITALD_WINDOW_NS;
    first_ = std::max(began_, window_ - std::min<std::uint64_t>(kShownWindows, window_));
    if (window_ <= first_) return;  // nothing is known yet
    ++round_;
    boot_ns_ = clock_.boot_ns(), clock_ns_ = running.clock_ns;
    auto& slots = object_.owners->slots();
    slots.cycle(had_);
    slots.read_all(*this, [] {});
    std::vector<double> host(window_ - first_), all_cpus, windows(host.size());
    const auto cpus = online();
    for (const auto cpu : cpus) {
      std::ranges::fill(windows, 0);
      add_row(cpu, 0, running, windows);
      for (std::size_t i = 0; i < windows.size(); ++i) host[i] += windows[i];
      all_cpus.insert(all_cpus.end(), windows.begin(), windows.end());
    }
    for (auto& ns : host) ns /= static_cast<double>(std::max<std::size_t>(cpus.size(), 1));
    emit(kHost, peak_of(host), {}, out);
    emit(kCpu, peak_of(all_cpus), {}, out);

    std::vector<std::uint32_t> order;
    for (std::uint32_t slot = 1; slot < slots_.size(); ++slot)
      if (slots_[slot].round == round_ && slots_[slot].owner != kOtherOwner) order.push_back(slot);
    std::ranges::stable_sort(order, {}, [&](auto slot) { return slots_[slot].owner; });
    std::unordered_set<OwnerId> still;
    for (std::size_t i = 0; i < order.size();) {
      const auto id = slots_[order[i]].owner;
      std::ranges::fill(windows, 0);
      for (; i < order.size() && slots_[order[i]].owner == id; ++i)
        for (std::size_t cpu = 0; cpu < object_.cpus.size(); ++cpu) add_row(cpu, order[i], running, windows);
      // Before they are put in order: nearly all owners idle.
      if (*std::ranges::max_element(windows) / VITALD_WINDOW_NS < kWorth && !shown_.contains(id)) continue;
      auto ordered = windows;
      const auto peak = peak_of(ordered);
      const auto owner = object_.owners->table().at(id);
      if (!still.insert(owner->id).second) continue;  // two have just become one
      emit(kOwner, peak, owner->labels, out);
    }
    shown_ = std::move(still);
  }

 private:
  struct Slot {
    OwnerId owner = kOtherOwner;
    std::uint64_t since = 0;  // window
    std::uint64_t round = 0;
  };

  // The kernel's rows are for all that may ever be there.
  std::vector<std::size_t> online() {
    std::vector<std::size_t> cpus;
    for (const auto cpu : online_.cpus())
      if (cpu < object_.cpus.size()) cpus.push_back(cpu);
    if (cpus.empty())
      for (std::size_t cpu = 0; cpu < object_.cpus.size(); ++cpu) cpus.push_back(cpu);
    return cpus;
  }

  // The first window that is all the slot's.
  [[nodiscard]] std::uint64_t since(std::uint32_t slot) const {
    const auto free_ns = object_.owners->slots().free_ns(slot);
    if (free_ns == 0) return 0;
    const auto ago_ns = static_cast<std::uint64_t>(std::max<std::int64_t>(0, boot_ns_ - free_ns));
    return (clock_ns_ - std::min(ago_ns, clock_ns_)) / VITALD_WINDOW_NS + 1;
  }

  void add_row(std::size_t cpu, std::uint32_t slot, const SchedObject::Running& running, std::span<double> windows) {
    const auto& kernels = object_.peaks[cpu * object_.detailed + slot];
    auto first = first_;
    if (slot != 0) first = std::max(first, slots_[slot].since);
    if (first >= window_) return;
    const auto into = windows.subspan(first - first_);
    if (now_in(kernels.window) >= first) {
      std::memcpy(&row_, &kernels, sizeof row_);
      // Written meanwhile: what was copied may be half of one window and half of the next.
      if (now_in(kernels.count) != row_.count) std::memcpy(&row_, &kernels, sizeof row_);
      add_windows(row_, first, into);
    }
    for (const auto& s : running.slices)
      if (s.cpu == cpu && (slot == 0 || s.slot == slot) && object_.still_runs(s))
        add_slice(s.since_ns, s.until_ns, first, into);
  }

  static void emit(const MetricDesc& desc, const Peak& peak, std::span<const Label> owner, BatchWriter& out) {
    std::vector<Label> labels{{"stat", "max"}};
    labels.insert(labels.end(), owner.begin(), owner.end());
    out.set_labels(desc, peak.max, labels);
    labels[0].value = "p99";
    out.set_labels(desc, peak.p99, labels);
  }

  const Clock& clock_;
  SchedObject& object_;
  CpuList online_;
  std::uint64_t began_;  // the first window that was seen whole
  std::vector<Slot> slots_;
  std::unordered_set<OwnerId> shown_;
  vitald_sched_peaks row_{};
  std::uint64_t window_ = 0, first_ = 0, round_ = 0, had_ = 0, clock_ns_ = 0;
  std::int64_t boot_ns_ = 0;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  return SchedReading<PeakReader>::make(host, options, kOwnerPeaks);
}

}  // namespace

extern const CollectorInfo collector_owner_peaks;
const CollectorInfo collector_owner_peaks{kMetrics, kFlags, make};

}  // namespace vitald
