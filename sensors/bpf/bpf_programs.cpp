// SPDX-License-Identifier: Apache-2.0
// All BPF programs and maps of this host, whoever loaded them: what they take of memory and of CPU time, by name, type
// and the process that holds them.
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <compare>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "core/text/utf8.h"
#include "sensors/bpf/iterators.h"
#include "sensors/bpf/report.h"
#include "sensors/owner/table.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "bpf_programs";
constexpr Signal kSignal{"bpf_programs", 1, 0, {}};
constexpr std::size_t kMostGroups = 256;  // the rest of programs, and of maps, is one more
// Whose a program is: asked when others are there than before, and again for those that changed hands.
constexpr std::int64_t kLookEveryNs = 600'000'000'000, kLookAtMostNs = 30'000'000'000;
// Programs come and go rarely, and listing them is a third of a scrape: so often, but each time while runs are counted.
constexpr std::int64_t kListEveryNs = 30'000'000'000;

constexpr MetricDesc kPrograms{
    "vitald_bpf_programs",
    MetricType::gauge,
    "BPF programs that are loaded on this host, by whomever: of one name and type, held open by one process (of "
    "several "
    "that with the lowest number; empty where none does that can be seen: pinned, or attached without a link). Listed "
    "every 30 s, and in each collection while the kernel counts runs.",
    "program,type,process,owner_kind,owner",
    "",
    "BPF iterator bpf_prog"};
constexpr MetricDesc kProgramMemory{"vitald_bpf_programs_memory_bytes",
                                    MetricType::gauge,
                                    "Memory of the programs counted by vitald_bpf_programs, without their maps.",
                                    "program,type,process,owner_kind,owner",
                                    "bytes",
                                    "BPF iterator bpf_prog"};
constexpr MetricDesc kRunSeconds{
    "vitald_bpf_programs_run_seconds_total",
    MetricType::counter,
    "Time spent in the programs counted by vitald_bpf_programs, those that are gone with it. The kernel counts only "
    "while "
    "kernel.bpf_stats_enabled is 1, which vitald leaves as it is; shown from then on, from Linux 5.19.",
    "program,type,process,owner_kind,owner",
    "seconds",
    "BPF iterator bpf_prog"};
constexpr MetricDesc kRuns{"vitald_bpf_programs_runs_total",
                           MetricType::counter,
                           "Runs of the programs counted by vitald_bpf_programs; see "
                           "vitald_bpf_programs_run_seconds_total.",
                           "program,type,process,owner_kind,owner",
                           "",
                           "BPF iterator bpf_prog"};
constexpr MetricDesc kMaps{"vitald_bpf_maps",
                           MetricType::gauge,
                           "BPF maps that are there on this host, by type and the process that holds them open, as in "
                           "vitald_bpf_programs.",
                           "type,process,owner_kind,owner",
                           "",
                           "BPF iterator bpf_map"};
constexpr MetricDesc kMapMemory{"vitald_bpf_maps_memory_bytes",
                                MetricType::gauge,
                                "What the entries of the maps counted by vitald_bpf_maps take when all are there: "
                                "their number times key and value, "
                                "of per-CPU maps the value for each CPU. Hashes that allocate as they grow take less.",
                                "type,process,owner_kind,owner",
                                "bytes",
                                "BPF iterator bpf_map"};
constexpr MetricDesc kMetrics[] = {
    VITALD_PROBE_METRICS, kPrograms, kProgramMemory, kRunSeconds, kRuns, kMaps, kMapMemory};
constexpr const auto& kUp = kMetrics[0];

struct Holder {
  std::string process;
  OwnerPtr owner;
};

// What series are told apart by.
struct Group {
  std::string program, type, process, owner_kind, owner;
  auto operator<=>(const Group&) const = default;
};
struct Sum {
  double count = 0, bytes = 0;
  double run_seconds = 0, runs = 0;  // with those of programs that are gone
};

std::string text_of(const char* text, std::size_t most) { return fit_text({text, strnlen(text, most)}); }

std::string type_name(const char* name, std::uint32_t number) { return name ? name : fmt::format("type {}", number); }

bool is_per_cpu(std::uint32_t type) {
  return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
         type == BPF_MAP_TYPE_LRU_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

double bytes_of(const vitald_bpf_map& map, double cpus) {
  const auto rounded = [](std::uint32_t bytes) { return static_cast<double>((std::uint64_t{bytes} + 7) / 8 * 8); };
  if (map.type == BPF_MAP_TYPE_RINGBUF) return map.max_entries;
  return map.max_entries * (rounded(map.key_size) + rounded(map.value_size) * (is_per_cpu(map.type) ? cpus : 1));
}

class BpfPrograms final : public Collector {
 public:
  BpfPrograms(const Host& host, BpfInventory inventory)
      : host_(host),
        inventory_(std::move(inventory)),
        page_bytes_(static_cast<double>(sysconf(_SC_PAGESIZE))),
        cpus_(libbpf_num_possible_cpus()) {}

  Result<> collect(BatchWriter& out) override {
    const Label up[] = {{"probe", kName}, {"hook", "iter"}};
    out.set_labels(kUp, 1, up);
    const auto now_ns = host_.clock().boot_ns();
    if (runs_grow_ || !listed_ns_ || now_ns - *listed_ns_ >= kListEveryNs) {
      if (auto ok = list(out); !ok) return ok;
      listed_ns_ = now_ns;
    }
    emit(out);
    return {};
  }
  std::string status() const override {
    return fmt::format("attached, iter, {}", !inventory_.counts_runs() ? "run time: not on this kernel"
                                             : stats_seen_             ? "run time: as the kernel counts it"
                                                                       : "run time: kernel.bpf_stats_enabled is 0");
  }

 private:
  Result<> list(BatchWriter& out) {
    const auto programs = inventory_.programs();
    if (!programs) return fail(programs.error());
    const auto maps = inventory_.maps();
    if (!maps) return fail(maps.error());
    if (auto ok = look(*programs, *maps); !ok) out.problem(ok.error());
    count(*programs);
    count(*maps);
    return {};
  }
  // Who holds what, when it is time to ask.
  Result<> look(const std::vector<vitald_bpf_program>& programs, const std::vector<vitald_bpf_map>& maps) {
    const auto now_ns = host_.clock().boot_ns();
    const bool others =
        std::ranges::any_of(programs, [&](const auto& p) { return !known(VITALD_HOLDS_PROGRAM, p.id); }) ||
        std::ranges::any_of(maps, [&](const auto& m) { return !known(VITALD_HOLDS_MAP, m.id); });
    const auto age_ns = looked_ ? now_ns - *looked_ : INT64_MAX;
    if (age_ns < (others ? kLookAtMostNs : kLookEveryNs)) return {};
    const auto all = inventory_.holders();
    if (!all) return fail(all.error());
    looked_ = now_ns;
    std::map<std::pair<std::uint32_t, std::uint32_t>, vitald_bpf_holder> first;
    for (const auto& h : *all) {
      const auto [it, is_new] = first.try_emplace({h.held, h.id}, h);
      if (!is_new && h.pid < it->second.pid) it->second = h;
    }
    std::unordered_map<std::uint32_t, OwnerPtr> owners;  // by process
    auto& table = host_.shared<OwnerTable>();
    std::map<std::pair<std::uint32_t, std::uint32_t>, Holder> now;
    const auto add = [&](std::uint32_t held, std::uint32_t id) {
      auto& holder = now[{held, id}];
      const auto it = first.find({held, id});
      if (it == first.end()) return;
      auto& owner = owners[it->second.pid];
      if (!owner) owner = table.at(table.of_pid(static_cast<pid_t>(it->second.pid)));
      holder = {text_of(it->second.comm, sizeof it->second.comm), owner};
    };
    for (const auto& p : programs) add(VITALD_HOLDS_PROGRAM, p.id);
    for (const auto& m : maps) add(VITALD_HOLDS_MAP, m.id);
    holders_ = std::move(now);
    return {};
  }
  [[nodiscard]] bool known(std::uint32_t held, std::uint32_t id) const { return holders_.contains({held, id}); }

  [[nodiscard]] Group group_of(std::uint32_t held, std::uint32_t id, std::string program, std::string type) const {
    Group group{std::move(program), std::move(type), "", "", ""};
    const auto it = holders_.find({held, id});
    if (it == holders_.end() || !it->second.owner) return group;
    group.process = it->second.process;
    group.owner_kind = to_string(it->second.owner->owner.kind);
    group.owner = it->second.owner->owner.name;
    return group;
  }
  static Sum& sum_of(std::map<Group, Sum>& sums, const Group& group) {
    const auto it = sums.find(group);
    if (it != sums.end()) return it->second;
    return sums[sums.size() < kMostGroups ? group : Group{"other", "other", "other", "", ""}];
  }

  void count(const std::vector<vitald_bpf_program>& programs) {
    for (auto& [group, sum] : programs_) sum.count = sum.bytes = 0;
    std::unordered_map<std::uint32_t, vitald_bpf_program> now;
    runs_grow_ = false;
    for (const auto& p : programs) {
      auto& sum =
          sum_of(programs_, group_of(VITALD_HOLDS_PROGRAM, p.id, text_of(p.name, sizeof p.name),
                                     type_name(libbpf_bpf_prog_type_str(static_cast<bpf_prog_type>(p.type)), p.type)));
      sum.count += 1;
      sum.bytes += p.pages * page_bytes_ + p.jited_bytes;
      const auto before = before_.find(p.id);
      const bool again = before != before_.end();
      // Counts of CPUs are read one after the other and may be a run behind, never ahead.
      const auto grown = [&](__u64 vitald_bpf_program::*of) {
        const auto then = again ? before->second.*of : 0;
        return p.*of > then ? static_cast<double>(p.*of - then) : 0;
      };
      sum.runs += grown(&vitald_bpf_program::runs);
      sum.run_seconds += grown(&vitald_bpf_program::run_ns) / 1e9;
      if (p.runs != 0) stats_seen_ = true;
      if (again && p.runs > before->second.runs) runs_grow_ = true;
      now.emplace(p.id, p);
    }
    before_ = std::move(now);
    // A group that is gone ends with its counters.
    std::erase_if(programs_, [](const auto& g) { return g.second.count == 0; });
  }
  void count(const std::vector<vitald_bpf_map>& maps) {
    maps_.clear();
    for (const auto& m : maps) {
      auto& sum =
          sum_of(maps_, group_of(VITALD_HOLDS_MAP, m.id, "",
                                 type_name(libbpf_bpf_map_type_str(static_cast<bpf_map_type>(m.type)), m.type)));
      sum.count += 1;
      sum.bytes += bytes_of(m, cpus_);
    }
  }

  void emit(BatchWriter& out) const {
    const auto programs = [&](const MetricDesc& desc, double Sum::*what) {
      for (const auto& [g, sum] : programs_)
        out.set(desc, sum.*what, g.program, g.type, g.process, g.owner_kind, g.owner);
    };
    programs(kPrograms, &Sum::count);
    programs(kProgramMemory, &Sum::bytes);
    if (stats_seen_) {
      programs(kRunSeconds, &Sum::run_seconds);
      programs(kRuns, &Sum::runs);
    }
    for (const auto& [g, sum] : maps_) out.set(kMaps, sum.count, g.type, g.process, g.owner_kind, g.owner);
    for (const auto& [g, sum] : maps_) out.set(kMapMemory, sum.bytes, g.type, g.process, g.owner_kind, g.owner);
  }

  const Host& host_;
  BpfInventory inventory_;
  const double page_bytes_, cpus_;
  std::optional<std::int64_t> listed_ns_, looked_;
  bool runs_grow_ = false;                                             // since the list before: the kernel counts them
  std::map<std::pair<std::uint32_t, std::uint32_t>, Holder> holders_;  // by what is held and its id; of none: empty
  std::unordered_map<std::uint32_t, vitald_bpf_program> before_;       // by id
  std::map<Group, Sum> programs_, maps_;
  bool stats_seen_ = false;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  if (!host.view().kernel) return fail(Errc::absent, "probe bpf_programs: only on the running system");
  auto inventory = BpfInventory::load(host.shared<KernelFacts>(), kSignal);
  if (!inventory) return probe_off(kName, inventory.error());
  return std::make_unique<BpfPrograms>(host, std::move(*inventory));
}

}  // namespace

extern const CollectorInfo collector_bpf_programs;
const CollectorInfo collector_bpf_programs{kMetrics, {}, make};

}  // namespace vitald
