// SPDX-License-Identifier: Apache-2.0
// Run-queue latency of the host, and CPU time, run-queue delay and context switches per owner, from one hook.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "bpf/include/vitald/owner.h"
#include "bpf/include/vitald/runq_latency.h"
#include "bpf/runq_latency.skel.h"
#include "sensors/bpf/path_text.h"
#include "sensors/bpf/probe.h"
#include "sensors/owner/hierarchy.h"
#include "sensors/owner/ledger.h"
#include "sensors/owner/owner.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "runq_latency";
constexpr std::int64_t kKeepOwnerNs = 300'000'000'000;
constexpr std::int64_t kNamesMayComeNs = 60'000'000'000;

constexpr FlagSpec kFlags[] = {
    {"owner.limit", FlagType::number, "1024",
     "How many cgroups and owners BPF probes follow one by one; the rest is summed up as owner=\"other\"."},
};

constexpr MetricDesc kMetrics[] = {
    VITALD_PROBE_METRICS,
    {"vitald_sched_runqueue_latency_seconds", MetricType::histogram,
     "How long tasks that could run waited for a CPU, each time they got one.", "", "seconds", "tp_btf/sched_switch"},
    {"vitald_cgroup_cpu_seconds_total", MetricType::counter, "CPU time by owner.", kOwnerLabels, "seconds",
     "tp_btf/sched_switch"},
    {"vitald_cgroup_runqueue_delay_seconds_total", MetricType::counter,
     "Time that tasks which could run waited for a CPU, by owner.", kOwnerLabels, "seconds", "tp_btf/sched_switch"},
    {"vitald_cgroup_context_switches_total", MetricType::counter,
     "Context switches away from tasks of the owner, because they waited (voluntary) or were preempted.",
     "kind,owner_kind,owner,namespace,pod,container,guest", "", "tp_btf/sched_switch"},
};
const MetricDesc& kLatency = kMetrics[3];
const MetricDesc& kCpu = kMetrics[4];
const MetricDesc& kDelay = kMetrics[5];
const MetricDesc& kSwitches = kMetrics[6];

enum Counter : std::size_t { cpu_ns, delay_ns, voluntary, involuntary, kCounters };
using Ledger = OwnerLedger<kCounters>;
using Totals = Ledger::Totals;

class RunqLatency final : public Collector {
 public:
  RunqLatency(const Host& host, LoadedProbe<runq_latency_bpf> probe, MappedArray<vitald_sched_cpu> cpus,
              MappedArray<vitald_sched_row> rows, MappedArray<vitald_slot> slots, const V1Hierarchy& v1)
      : host_(host),
        probe_(std::move(probe)),
        report_(kName, probe_.skel->obj, probe_.form),
        cpus_(std::move(cpus)),
        rows_(std::move(rows)),
        slots_(std::move(slots)),
        resolver_(host),
        ledger_(slots_.size()),
        places_(slots_.size()),
        clock_program_(bpf_program__fd(probe_.form == HookForm::tp_btf ? probe_.skel->progs.read_clock
                                                                       : probe_.skel->progs.read_clock_raw)) {
    report_.note(fmt::format("{}, owners by {}",
                             kernel_facts().keeps_last_queued ? "no state per task" : "wakeups recorded per task",
                             describe(v1)));
  }

  Result<> collect(BatchWriter& out) override {
    report_.emit(out);

    HistSum delays;
    for (std::size_t cpu = 0; cpu < cpus_.size(); ++cpu) delays.add(cpus_[cpu].delay);
    out.histogram(kLatency, delays.view());

    sum_owners();
    for (const auto& e : ledger_.entries()) out.set_labels(kCpu, seconds(e.shown[cpu_ns]), e.labels);
    for (const auto& e : ledger_.entries()) out.set_labels(kDelay, seconds(e.shown[delay_ns]), e.labels);
    for (const auto& e : ledger_.entries()) {
      with_kind_.assign(1, {"kind", "voluntary"});
      with_kind_.insert(with_kind_.end(), e.labels.begin(), e.labels.end());
      out.set_labels(kSwitches, static_cast<double>(e.shown[voluntary]), with_kind_);
      with_kind_[0].value = "involuntary";
      out.set_labels(kSwitches, static_cast<double>(e.shown[involuntary]), with_kind_);
    }
    return {};
  }

  std::string status() const override { return report_.status(); }

 private:
  // What a slot of the kernel's table stands for. A slot is used again one round after it was given up, when no CPU
  // can still be charging it.
  struct Place {
    enum class State : std::uint8_t { free, used, dying, given_up };
    State state = State::free;
    Ledger::Entry* owner = nullptr;
    Totals before{};  // what others counted in this slot
    std::uint64_t id = 0;
    std::int64_t seen_ns = 0;
    bool named = true;
  };

  static double seconds(std::uint64_t ns) { return static_cast<double>(ns) / 1e9; }

  Totals read(std::size_t slot) const {
    Totals t{};
    for (std::size_t cpu = 0; cpu < cpus_.size(); ++cpu) {
      const auto& row = rows_[cpu * slots_.size() + slot];
      t[cpu_ns] += row.cpu_ns;
      t[delay_ns] += row.delay_ns;
      t[voluntary] += row.voluntary;
      t[involuntary] += row.involuntary;
    }
    return t;
  }

  void sum_owners() {
    const auto now = host_.clock().boot_ns();
    running_.clear();
    const bool clock_known = bpf_prog_test_run_opts(clock_program_, nullptr) == 0;
    for (std::size_t cpu = 0; clock_known && cpu < cpus_.size(); ++cpu)
      if (cpus_[cpu].running) running_.push_back({cpu, cpus_[cpu].slot, cpus_[cpu].since_ns});

    ledger_.begin_round();
    add(ledger_.other().live, read(0), Totals{});
    bool freed = false;
    for (std::size_t slot = 1; slot < slots_.size(); ++slot) {
      auto& place = places_[slot];
      if (place.state == Place::State::free) {
        if (slots_[slot].id == 0) continue;
        take(slot, now);
      }
      const auto counted = read(slot);
      if (place.state == Place::State::given_up) {  // a last slice of a task that was still exiting
        add(ledger_.other().gone, counted, place.before);
        place.before = counted;
        place.state = Place::State::free;
        const auto number = static_cast<__u32>(slot);
        bpf_map_update_elem(bpf_map__fd(probe_.skel->maps.free_slots), nullptr, &number, 0);
        freed = true;
        continue;
      }
      if (place.state == Place::State::dying) {
        add(place.owner->gone, counted, place.before);
        place.before = counted;
        ledger_.close(*place.owner, now);
        bpf_map_delete_elem(bpf_map__fd(probe_.skel->maps.slot_of), &place.id);
        slots_[slot].id = 0;
        place.state = Place::State::given_up;
        continue;
      }
      if (!place.named && now - place.seen_ns < kNamesMayComeNs) name_again(slot, now);
      add(place.owner->live, counted, place.before);
      if (slots_[slot].dead) place.state = Place::State::dying;
    }
    // The slices that have not ended; not those that ended while we were reading.
    const auto clock_ns = *static_cast<const volatile __u64*>(&probe_.skel->bss->clock_ns);
    for (const auto& [cpu, slot, since_ns] : running_) {
      const volatile auto& c = cpus_[cpu];
      if (c.since_ns != since_ns || clock_ns <= since_ns) continue;
      const auto& place = places_[slot];
      auto& owner =
          place.state == Place::State::used || place.state == Place::State::dying ? *place.owner : ledger_.other();
      owner.live[cpu_ns] += clock_ns - since_ns;
    }
    ledger_.drop_empty(now, kKeepOwnerNs);
    ledger_.end_round();
    if (freed) forget_full();
  }

  static void add(Totals& to, const Totals& counted, const Totals& before) {
    for (std::size_t i = 0; i < kCounters; ++i) to[i] += counted[i] - before[i];
  }

  void take(std::size_t slot, std::int64_t now) {
    auto& place = places_[slot];
    const auto owner = resolver_.resolve(path_of(slot));
    place.id = slots_[slot].id;
    place.owner = ledger_.open(owner, now);
    place.seen_ns = now;
    place.named = owner.container_id.empty() || !owner.container.empty();
    place.state = Place::State::used;
  }

  std::string path_of(std::size_t slot) const {
    const auto key = static_cast<__u32>(slot);
    vitald_cgroup_path path{};  // by a system call, once per cgroup: mapped, they would all count as our memory
    bpf_map_lookup_elem(bpf_map__fd(probe_.skel->maps.paths), &key, &path);
    return path_text(path);
  }

  // kubelet may link a container's log a moment after the container's first task ran.
  void name_again(std::size_t slot, std::int64_t now) {
    auto& place = places_[slot];
    const auto owner = resolver_.resolve(path_of(slot));
    if (owner.kind == place.owner->owner.kind && owner.name == place.owner->owner.name) return;
    ledger_.close(*place.owner, now);
    place.owner = ledger_.open(owner, now);
    place.named = !owner.container.empty();
  }

  // CPUs remember who got no slot; now there are some again.
  void forget_full() {
    for (std::size_t cpu = 0; cpu < cpus_.size(); ++cpu)
      for (auto& cached : cpus_[cpu].cache)
        if (cached.slot == 0) cached.id = 0;
  }

  const Host& host_;
  LoadedProbe<runq_latency_bpf> probe_;
  ProbeReport report_;
  MappedArray<vitald_sched_cpu> cpus_;
  MappedArray<vitald_sched_row> rows_;
  MappedArray<vitald_slot> slots_;
  OwnerResolver resolver_;
  Ledger ledger_;
  std::vector<Place> places_;
  struct Running {
    std::size_t cpu;
    std::uint32_t slot;
    std::uint64_t since_ns;
  };
  std::vector<Running> running_;
  std::vector<Label> with_kind_;
  int clock_program_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (!host.live()) return fail(Errc::absent, "probe runq_latency: only on the running system");
  const auto& facts = kernel_facts();
  std::vector<ProbeHook> hooks = {
      {"on_switch", "sched_switch"}, {"on_rmdir", "cgroup_rmdir"}, {"read_clock", "sched_switch", false}};
  if (!facts.keeps_last_queued) {
    hooks.push_back({"on_wakeup", "sched_wakeup"});
    hooks.push_back({"on_wakeup_new", "sched_wakeup_new"});
  }
  const auto v1 = cpu_hierarchy(host);
  const auto cpus = static_cast<__u32>(libbpf_num_possible_cpus());
  const auto slots = static_cast<__u32>(std::clamp<std::int64_t>(options.number("owner.limit"), 1, 65535) + 1);
  auto probe = load_probe<runq_latency_bpf>(
      kName, hooks,
      [&](runq_latency_bpf& skel) {
        skel.rodata->owner_slots = slots;
        skel.rodata->has_prev_state = facts.arguments("sched_switch") >= 4;
        skel.rodata->has_last_queued = facts.keeps_last_queued;
        skel.rodata->v1_controller = static_cast<__u32>(v1.controller);
        skel.rodata->v1_hierarchy = v1.id;
        bpf_map__set_max_entries(skel.maps.cpus, cpus);
        bpf_map__set_max_entries(skel.maps.rows, cpus * slots);
        for (auto* map : {skel.maps.slots, skel.maps.paths, skel.maps.slot_of, skel.maps.free_slots})
          bpf_map__set_max_entries(map, slots);
        if (!facts.keeps_last_queued) bpf_map__set_max_entries(skel.maps.runnable_since, 16384);
      },
      [&](runq_latency_bpf& skel) {
        for (__u32 slot = 1; slot < slots; ++slot)
          bpf_map_update_elem(bpf_map__fd(skel.maps.free_slots), nullptr, &slot, 0);
      });
  if (!probe) return probe_off(kName, probe.error());
  auto& maps = probe->skel->maps;
  auto mapped_cpus = MappedArray<vitald_sched_cpu>::of(maps.cpus);
  auto rows = MappedArray<vitald_sched_row>::of(maps.rows);
  auto slot_ids = MappedArray<vitald_slot>::of(maps.slots);
  if (!mapped_cpus) return probe_off(kName, mapped_cpus.error());
  if (!rows) return probe_off(kName, rows.error());
  if (!slot_ids) return probe_off(kName, slot_ids.error());
  return std::make_unique<RunqLatency>(host, std::move(*probe), std::move(*mapped_cpus), std::move(*rows),
                                       std::move(*slot_ids), v1);
}

}  // namespace

extern const CollectorInfo collector_runq_latency;
const CollectorInfo collector_runq_latency{kMetrics, kFlags, make};

}  // namespace vitald
