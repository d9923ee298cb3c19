// SPDX-License-Identifier: Apache-2.0
// All BPF programs and maps of this host, whoever loaded them: what they take of memory and of CPU time, by name, type
// and the process that holds them.
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "core/text/utf8.h"
#include "sensors/bpf/iterators.h"
#include "sensors/bpf/map_memory.h"
#include "sensors/bpf/program_groups.h"
#include "sensors/bpf/report.h"
#include "sensors/bpf/run_stats.h"
#include "sensors/owner/table.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "bpf_programs";
constexpr Signal kSignal{"bpf_programs", 1, 0, {}};
// Whose a program is: asked when others are there than before, or a process is gone; so often for those that change
// hands while both stay.
constexpr std::int64_t kLookEveryNs = 600'000'000'000;
// Programs come and go rarely, and listing them is a third of a scrape: so often, but each time while runs are counted.
constexpr std::int64_t kListEveryNs = 30'000'000'000;

constexpr MetricDesc kPrograms{
    "vitald_bpf_programs",
    MetricType::gauge,
    "BPF programs that are loaded on this host, by whomever: of one name and type, held open by one process (of "
    "several that with the lowest number; empty where none does that can be seen: pinned, or attached without a link). "
    "Listed every 30 s, and in each collection while the kernel counts runs; who holds them is looked up at once for "
    "what "
    "is new or when one is gone, and else every 10 min. Of more than 256 groups the rest is one, \"other\". In a PID "
    "namespace of its own vitald sees only holders there, and their owner only in the host's /proc.",
    "program,type,process,owner_kind,owner",
    "",
    "BPF iterator bpf_prog"};
constexpr MetricDesc kProgramMemory{
    "vitald_bpf_programs_memory_bytes",
    MetricType::gauge,
    "Memory of the programs counted by vitald_bpf_programs, without their maps: instructions "
    "and machine code, that of subprograms with it.",
    "program,type,process,owner_kind,owner",
    "bytes",
    "BPF iterator bpf_prog"};
constexpr MetricDesc kRunSeconds{
    "vitald_bpf_programs_run_seconds_total",
    MetricType::counter,
    "Time spent in the programs counted by vitald_bpf_programs, those that are gone with it. The kernel counts only "
    "while kernel.bpf_stats_enabled is 1, which vitald leaves as it is; shown once it was 1 while vitald ran, from "
    "Linux 5.19.",
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
                                "Memory of the maps counted by vitald_bpf_maps: an estimate of what Linux from 6.4 "
                                "says itself, by type and sizes, within a tenth. Without types whose memory grows "
                                "with what is in them (hashes that do not allocate beforehand, tries, storage of "
                                "sockets, tasks and cgroups) and those of sockets, devices and arenas.",
                                "type,process,owner_kind,owner",
                                "bytes",
                                "BPF iterator bpf_map"};
constexpr MetricDesc kMetrics[] = {
    VITALD_PROBE_METRICS, kPrograms, kProgramMemory, kRunSeconds, kRuns, kMaps, kMapMemory};
constexpr const auto& kUp = kMetrics[0];

struct Holder {
  std::uint32_t pid = 0;  // as the host numbers it; 0: nobody
  std::string process;
  OwnerPtr owner;  // none where it cannot be told
};

std::string text_of(const char* text, std::size_t most) { return fit_text({text, strnlen(text, most)}); }

std::string type_name(const char* name, std::uint32_t number) { return name ? name : fmt::format("type {}", number); }

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
    const bool counted =
        std::exchange(counts_runs_, inventory_.counts_runs() && kernel_counts_runs(SystemClock::read(CLOCK_MONOTONIC)));
    if (runs_grow_ || counts_runs_ != counted || !listed_ns_ || now_ns - *listed_ns_ >= kListEveryNs) {
      if (auto ok = list(out); !ok) return ok;
      listed_ns_ = now_ns;
    }
    emit(out);
    return {};
  }
  std::string status() const override {
    return fmt::format("attached, iter, {}", !inventory_.counts_runs() ? "run time: not on this kernel"
                                             : counts_runs_            ? "run time: as the kernel counts it"
                                                                       : "run time: kernel.bpf_stats_enabled is 0");
  }

 private:
  Result<> list(BatchWriter& out) {
    auto programs = inventory_.programs();
    if (!programs) return fail(programs.error());
    auto maps = inventory_.maps();
    if (!maps) return fail(maps.error());
    if (is_time_to_look(*programs, *maps)) {
      if (auto ok = look(*programs, *maps); !ok) out.problem(ok.error());
      // What went meanwhile was held by nobody when it was looked for, which says nothing.
      programs = inventory_.programs();
      if (!programs) return fail(programs.error());
      maps = inventory_.maps();
      if (!maps) return fail(maps.error());
    }
    count(*programs);
    count(*maps);
    return {};
  }
  bool is_time_to_look(const std::vector<vitald_bpf_program>& programs, const std::vector<vitald_bpf_map>& maps) const {
    if (!looked_ns_ || host_.clock().boot_ns() - *looked_ns_ >= kLookEveryNs) return true;
    if (std::ranges::any_of(programs, [&](const auto& p) { return !known(VITALD_HOLDS_PROGRAM, p.id); })) return true;
    if (std::ranges::any_of(maps, [&](const auto& m) { return !known(VITALD_HOLDS_MAP, m.id); })) return true;
    if (!numbers_fit_) return false;
    std::map<std::uint32_t, std::string_view> processes;
    const auto add = [&](std::uint32_t held, std::uint32_t id) {
      if (const auto& holder = holders_.at({held, id}); holder.pid != 0) processes.emplace(holder.pid, holder.process);
    };
    for (const auto& p : programs) add(VITALD_HOLDS_PROGRAM, p.id);
    for (const auto& m : maps) add(VITALD_HOLDS_MAP, m.id);
    return std::ranges::any_of(processes, [&](const auto& p) { return !is_process(p.first, p.second); });
  }
  // A number may be another process' by now.
  [[nodiscard]] bool is_process(std::uint32_t pid, std::string_view name) const {
    const auto comm = read_kernel_file(host_.procfs(fmt::format("{}/comm", pid)));
    if (!comm) return false;
    std::string_view rest = *comm;
    return fit_text(take_line(rest)) == name;
  }
  // Who holds each of them.
  Result<> look(const std::vector<vitald_bpf_program>& programs, const std::vector<vitald_bpf_map>& maps) {
    const auto all = inventory_.holders();
    if (!all) return fail(all.error());
    looked_ns_ = host_.clock().boot_ns();
    // The host's number of a process says nothing where procfs has others.
    char self[16] = {};
    const auto length = readlink(host_.procfs("self").c_str(), self, sizeof self);
    numbers_fit_ = length > 0 && parse_u64({self, static_cast<std::size_t>(length)}) == inventory_.reader();
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
      const auto pid = it->second.pid;
      auto process = text_of(it->second.comm, sizeof it->second.comm);
      const auto [owner, is_new] = owners.try_emplace(pid);
      if (is_new && numbers_fit_) {
        const auto found = table.of_pid(static_cast<pid_t>(pid));
        if (is_process(pid, process)) owner->second = table.at(found);  // not of who has come after it
      }
      holder = {pid, std::move(process), owner->second};
    };
    for (const auto& p : programs) add(VITALD_HOLDS_PROGRAM, p.id);
    for (const auto& m : maps) add(VITALD_HOLDS_MAP, m.id);
    holders_ = std::move(now);
    return {};
  }
  [[nodiscard]] bool known(std::uint32_t held, std::uint32_t id) const { return holders_.contains({held, id}); }

  // Nothing of what was not looked up yet.
  [[nodiscard]] std::optional<ProgramGroup> group_of(std::uint32_t held, std::uint32_t id, std::string program,
                                                     std::string type) const {
    const auto it = holders_.find({held, id});
    if (it == holders_.end()) return std::nullopt;
    ProgramGroup group{std::move(program), std::move(type), it->second.process, "", ""};
    if (const auto& owner = it->second.owner) {
      group.owner_kind = to_string(owner->owner.kind);
      group.owner = owner->owner.name;
    }
    return group;
  }

  void count(const std::vector<vitald_bpf_program>& programs) {
    std::unordered_map<std::uint32_t, vitald_bpf_program> now;
    runs_grow_ = false;
    for (const auto& p : programs) {
      auto group = group_of(VITALD_HOLDS_PROGRAM, p.id, text_of(p.name, sizeof p.name),
                            type_name(libbpf_bpf_prog_type_str(static_cast<bpf_prog_type>(p.type)), p.type));
      if (!group) continue;
      const auto before = before_.find(p.id);
      const bool again = before != before_.end();
      // Counts of CPUs are read one after the other and may be a run behind, never ahead.
      const auto grown = [&](__u64 vitald_bpf_program::*of) {
        const auto then = again ? before->second.*of : 0;
        return p.*of > then ? static_cast<double>(p.*of - then) : 0;
      };
      programs_.add(std::move(*group), {.count = 1,
                                        .bytes = p.pages * page_bytes_ + p.jited_bytes,
                                        .runs = grown(&vitald_bpf_program::runs),
                                        .run_seconds = grown(&vitald_bpf_program::run_ns) / 1e9});
      if (again && p.runs > before->second.runs) runs_grow_ = true;
      now.emplace(p.id, p);
    }
    before_ = std::move(now);
    programs_.close();
  }
  void count(const std::vector<vitald_bpf_map>& maps) {
    for (const auto& m : maps) {
      auto group = group_of(VITALD_HOLDS_MAP, m.id, "",
                            type_name(libbpf_bpf_map_type_str(static_cast<bpf_map_type>(m.type)), m.type));
      if (!group) continue;
      const auto bytes = bpf_map_bytes(m, cpus_, page_bytes_);
      maps_.add(std::move(*group), {.count = 1, .bytes = bytes.value_or(0), .sized = bytes.has_value()});
    }
    maps_.close();
  }

  void emit(BatchWriter& out) const {
    const auto programs = [&](const MetricDesc& desc, double ProgramSum::*what) {
      for (const auto& [g, sum] : programs_.sums())
        out.set(desc, sum.*what, g.program, g.type, g.process, g.owner_kind, g.owner);
    };
    programs(kPrograms, &ProgramSum::count);
    programs(kProgramMemory, &ProgramSum::bytes);
    if (counts_runs_) {
      programs(kRunSeconds, &ProgramSum::run_seconds);
      programs(kRuns, &ProgramSum::runs);
    }
    for (const auto& [g, sum] : maps_.sums()) out.set(kMaps, sum.count, g.type, g.process, g.owner_kind, g.owner);
    for (const auto& [g, sum] : maps_.sums())
      if (sum.sized) out.set(kMapMemory, sum.bytes, g.type, g.process, g.owner_kind, g.owner);
  }

  const Host& host_;
  BpfInventory inventory_;
  const double page_bytes_, cpus_;
  std::optional<std::int64_t> listed_ns_, looked_ns_;
  bool runs_grow_ = false;                                             // since the list before: the kernel counts them
  std::map<std::pair<std::uint32_t, std::uint32_t>, Holder> holders_;  // by what is held and its id; of none: empty
  std::unordered_map<std::uint32_t, vitald_bpf_program> before_;       // by id
  ProgramGroups programs_, maps_;
  bool counts_runs_ = false;
  bool numbers_fit_ = false;  // procfs has the host's numbers of processes
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
