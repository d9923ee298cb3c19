// SPDX-License-Identifier: Apache-2.0
// Hardware, software and cache counters of each CPU by perf_event_open(2).
#include <fmt/format.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/log.h"
#include "core/os/fd.h"
#include "core/os/kernel_file.h"
#include "core/text/names.h"
#include "core/text/scan.h"
#include "sensors/read/cpu_list.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr std::uint64_t cache(std::uint64_t id, std::uint64_t op, std::uint64_t result) {
  return id | op << 8 | result << 16;
}
struct Event {
  std::string_view name;  // as the flags have it
  std::uint32_t type;
  std::uint64_t config;
  MetricDesc desc;
};
constexpr Event kEvents[] = {
    {"CpuCycles",
     PERF_TYPE_HARDWARE,
     PERF_COUNT_HW_CPU_CYCLES,
     {"node_perf_cpucycles_total", counter, "Number of CPU cycles (frequency scaled)", "cpu", "",
      "perf_event_open(2)"}},
    {"CpuInstr",
     PERF_TYPE_HARDWARE,
     PERF_COUNT_HW_INSTRUCTIONS,
     {"node_perf_instructions_total", counter, "Number of CPU instructions", "cpu", "", "perf_event_open(2)"}},
    {"BranchInstr",
     PERF_TYPE_HARDWARE,
     PERF_COUNT_HW_BRANCH_INSTRUCTIONS,
     {"node_perf_branch_instructions_total", counter, "Number of CPU branch instructions", "cpu", "",
      "perf_event_open(2)"}},
    {"BranchMisses",
     PERF_TYPE_HARDWARE,
     PERF_COUNT_HW_BRANCH_MISSES,
     {"node_perf_branch_misses_total", counter, "Number of CPU branch misses", "cpu", "", "perf_event_open(2)"}},
    {"CacheRef",
     PERF_TYPE_HARDWARE,
     PERF_COUNT_HW_CACHE_REFERENCES,
     {"node_perf_cache_refs_total", counter, "Number of cache references (non frequency scaled)", "cpu", "",
      "perf_event_open(2)"}},
    {"CacheMisses",
     PERF_TYPE_HARDWARE,
     PERF_COUNT_HW_CACHE_MISSES,
     {"node_perf_cache_misses_total", counter, "Number of cache misses", "cpu", "", "perf_event_open(2)"}},
    {"RefCpuCycles",
     PERF_TYPE_HARDWARE,
     PERF_COUNT_HW_REF_CPU_CYCLES,
     {"node_perf_ref_cpucycles_total", counter, "Number of CPU cycles", "cpu", "", "perf_event_open(2)"}},
    {"StalledCyclesBackend",
     PERF_TYPE_HARDWARE,
     PERF_COUNT_HW_STALLED_CYCLES_BACKEND,
     {"node_perf_stalled_cycles_backend_total", counter, "Number of stalled backend CPU cycles", "cpu", "",
      "perf_event_open(2)"}},
    {"StalledCyclesFrontend",
     PERF_TYPE_HARDWARE,
     PERF_COUNT_HW_STALLED_CYCLES_FRONTEND,
     {"node_perf_stalled_cycles_frontend_total", counter, "Number of stalled frontend CPU cycles", "cpu", "",
      "perf_event_open(2)"}},
    {"PageFault",
     PERF_TYPE_SOFTWARE,
     PERF_COUNT_SW_PAGE_FAULTS,
     {"node_perf_page_faults_total", counter, "Number of page faults", "cpu", "", "perf_event_open(2)"}},
    {"ContextSwitch",
     PERF_TYPE_SOFTWARE,
     PERF_COUNT_SW_CONTEXT_SWITCHES,
     {"node_perf_context_switches_total", counter, "Number of context switches", "cpu", "", "perf_event_open(2)"}},
    {"CpuMigration",
     PERF_TYPE_SOFTWARE,
     PERF_COUNT_SW_CPU_MIGRATIONS,
     {"node_perf_cpu_migrations_total", counter, "Number of CPU process migrations", "cpu", "", "perf_event_open(2)"}},
    {"MinorFault",
     PERF_TYPE_SOFTWARE,
     PERF_COUNT_SW_PAGE_FAULTS_MIN,
     {"node_perf_minor_faults_total", counter, "Number of minor page faults", "cpu", "", "perf_event_open(2)"}},
    {"MajorFault",
     PERF_TYPE_SOFTWARE,
     PERF_COUNT_SW_PAGE_FAULTS_MAJ,
     {"node_perf_major_faults_total", counter, "Number of major page faults", "cpu", "", "perf_event_open(2)"}},
    {"L1DataReadHit",
     PERF_TYPE_HW_CACHE,
     cache(PERF_COUNT_HW_CACHE_L1D, PERF_COUNT_HW_CACHE_OP_READ, PERF_COUNT_HW_CACHE_RESULT_ACCESS),
     {"node_perf_cache_l1d_read_hits_total", counter, "Number L1 data cache read hits", "cpu", "",
      "perf_event_open(2)"}},
    {"L1DataReadMiss",
     PERF_TYPE_HW_CACHE,
     cache(PERF_COUNT_HW_CACHE_L1D, PERF_COUNT_HW_CACHE_OP_READ, PERF_COUNT_HW_CACHE_RESULT_MISS),
     {"node_perf_cache_l1d_read_misses_total", counter, "Number L1 data cache read misses", "cpu", "",
      "perf_event_open(2)"}},
    {"L1DataWriteHit",
     PERF_TYPE_HW_CACHE,
     cache(PERF_COUNT_HW_CACHE_L1D, PERF_COUNT_HW_CACHE_OP_WRITE, PERF_COUNT_HW_CACHE_RESULT_ACCESS),
     {"node_perf_cache_l1d_write_hits_total", counter, "Number L1 data cache write hits", "cpu", "",
      "perf_event_open(2)"}},
    {"L1InstrReadMiss",
     PERF_TYPE_HW_CACHE,
     cache(PERF_COUNT_HW_CACHE_L1I, PERF_COUNT_HW_CACHE_OP_READ, PERF_COUNT_HW_CACHE_RESULT_MISS),
     {"node_perf_cache_l1_instr_read_misses_total", counter, "Number instruction L1 instruction read misses", "cpu", "",
      "perf_event_open(2)"}},
    {"InstrTLBReadHit",
     PERF_TYPE_HW_CACHE,
     cache(PERF_COUNT_HW_CACHE_ITLB, PERF_COUNT_HW_CACHE_OP_READ, PERF_COUNT_HW_CACHE_RESULT_ACCESS),
     {"node_perf_cache_tlb_instr_read_hits_total", counter, "Number instruction TLB read hits", "cpu", "",
      "perf_event_open(2)"}},
    {"InstrTLBReadMiss",
     PERF_TYPE_HW_CACHE,
     cache(PERF_COUNT_HW_CACHE_ITLB, PERF_COUNT_HW_CACHE_OP_READ, PERF_COUNT_HW_CACHE_RESULT_MISS),
     {"node_perf_cache_tlb_instr_read_misses_total", counter, "Number instruction TLB read misses", "cpu", "",
      "perf_event_open(2)"}},
    {"DataTLBReadHit",
     PERF_TYPE_HW_CACHE,
     cache(PERF_COUNT_HW_CACHE_DTLB, PERF_COUNT_HW_CACHE_OP_READ, PERF_COUNT_HW_CACHE_RESULT_ACCESS),
     {"node_perf_cache_tlb_data_read_hits_total", counter, "Number of data TLB read hits", "cpu", "",
      "perf_event_open(2)"}},
    {"DataTLBReadMiss",
     PERF_TYPE_HW_CACHE,
     cache(PERF_COUNT_HW_CACHE_DTLB, PERF_COUNT_HW_CACHE_OP_READ, PERF_COUNT_HW_CACHE_RESULT_MISS),
     {"node_perf_cache_tlb_data_read_misses_total", counter, "Number of data TLB read misses", "cpu", "",
      "perf_event_open(2)"}},
    {"DataTLBWriteHit",
     PERF_TYPE_HW_CACHE,
     cache(PERF_COUNT_HW_CACHE_DTLB, PERF_COUNT_HW_CACHE_OP_WRITE, PERF_COUNT_HW_CACHE_RESULT_ACCESS),
     {"node_perf_cache_tlb_data_write_hits_total", counter, "Number of data TLB write hits", "cpu", "",
      "perf_event_open(2)"}},
    {"DataTLBWriteMiss",
     PERF_TYPE_HW_CACHE,
     cache(PERF_COUNT_HW_CACHE_DTLB, PERF_COUNT_HW_CACHE_OP_WRITE, PERF_COUNT_HW_CACHE_RESULT_MISS),
     {"node_perf_cache_tlb_data_write_misses_total", counter, "Number of data TLB write misses", "cpu", "",
      "perf_event_open(2)"}},
    {"LLReadHit",
     PERF_TYPE_HW_CACHE,
     cache(PERF_COUNT_HW_CACHE_LL, PERF_COUNT_HW_CACHE_OP_READ, PERF_COUNT_HW_CACHE_RESULT_ACCESS),
     {"node_perf_cache_ll_read_hits_total", counter, "Number last level read hits", "cpu", "", "perf_event_open(2)"}},
    {"LLReadMiss",
     PERF_TYPE_HW_CACHE,
     cache(PERF_COUNT_HW_CACHE_LL, PERF_COUNT_HW_CACHE_OP_READ, PERF_COUNT_HW_CACHE_RESULT_MISS),
     {"node_perf_cache_ll_read_misses_total", counter, "Number last level read misses", "cpu", "",
      "perf_event_open(2)"}},
    {"LLWriteHit",
     PERF_TYPE_HW_CACHE,
     cache(PERF_COUNT_HW_CACHE_LL, PERF_COUNT_HW_CACHE_OP_WRITE, PERF_COUNT_HW_CACHE_RESULT_ACCESS),
     {"node_perf_cache_ll_write_hits_total", counter, "Number last level write hits", "cpu", "", "perf_event_open(2)"}},
    {"LLWriteMiss",
     PERF_TYPE_HW_CACHE,
     cache(PERF_COUNT_HW_CACHE_LL, PERF_COUNT_HW_CACHE_OP_WRITE, PERF_COUNT_HW_CACHE_RESULT_MISS),
     {"node_perf_cache_ll_write_misses_total", counter, "Number last level write misses", "cpu", "",
      "perf_event_open(2)"}},
    {"BPUReadHit",
     PERF_TYPE_HW_CACHE,
     cache(PERF_COUNT_HW_CACHE_BPU, PERF_COUNT_HW_CACHE_OP_READ, PERF_COUNT_HW_CACHE_RESULT_ACCESS),
     {"node_perf_cache_bpu_read_hits_total", counter, "Number BPU read hits", "cpu", "", "perf_event_open(2)"}},
    {"BPUReadMiss",
     PERF_TYPE_HW_CACHE,
     cache(PERF_COUNT_HW_CACHE_BPU, PERF_COUNT_HW_CACHE_OP_READ, PERF_COUNT_HW_CACHE_RESULT_MISS),
     {"node_perf_cache_bpu_read_misses_total", counter, "Number BPU read misses", "cpu", "", "perf_event_open(2)"}},
};
constexpr MetricDesc kMetrics[] = {
    {"node_perf_*", counter, "*", "cpu", "", "perf_event_open(2), one for each tracepoint asked for"}};
constexpr auto kFamilies = families_of(kEvents, kMetrics);
constexpr FlagSpec kFlags[] = {
    {"collector.perf.cpus", FlagType::text, "", "List of CPUs from which perf metrics should be collected"},
    {"collector.perf.tracepoint", FlagType::list, "", "perf tracepoint that should be collected"},
    {"collector.perf.disable-hardware-profilers", FlagType::boolean, "false", "disable perf hardware profilers"},
    {"collector.perf.hardware-profilers", FlagType::list, "", "perf hardware profilers that should be collected"},
    {"collector.perf.disable-software-profilers", FlagType::boolean, "false", "disable perf software profilers"},
    {"collector.perf.software-profilers", FlagType::list, "", "perf software profilers that should be collected"},
    {"collector.perf.disable-cache-profilers", FlagType::boolean, "false", "disable perf cache profilers"},
    {"collector.perf.cache-profilers", FlagType::list, "", "perf cache profilers that should be collected"},
};
struct Kind {
  std::uint32_t type;
  std::string_view disable, choose;
};
constexpr Kind kKinds[] = {
    {PERF_TYPE_HARDWARE, "collector.perf.disable-hardware-profilers", "collector.perf.hardware-profilers"},
    {PERF_TYPE_SOFTWARE, "collector.perf.disable-software-profilers", "collector.perf.software-profilers"},
    {PERF_TYPE_HW_CACHE, "collector.perf.disable-cache-profilers", "collector.perf.cache-profilers"},
};

// "0,4-10:2": single CPUs, ranges, ranges with a stride
Result<std::vector<int>> parse_cpus(std::string_view text) {
  std::vector<int> cpus;
  const std::string_view flag = text;
  while (!text.empty()) {
    std::string_view item = take_until(text, ',');
    std::string_view range = take_until(item, ':');
    const auto stride = item.empty() ? std::optional(1) : parse_int<int>(item);
    const auto first = parse_int<int>(take_until(range, '-'));
    const auto last = range.empty() ? first : parse_int<int>(range);
    if (!stride || *stride < 1 || !first || *first < 0 || !last || *last > 65535)
      return malformed("--collector.perf.cpus", flag, "CPUs as 0,4-10:2");
    for (int cpu = *first; cpu <= *last; cpu += *stride) cpus.push_back(cpu);
  }
  return cpus;
}

// The counters of one CPU, of everything that runs on it, from now on.
Fd open_counter(std::uint32_t type, std::uint64_t config, int cpu) {
  perf_event_attr attributes{};
  attributes.type = type;
  attributes.size = sizeof attributes;
  attributes.config = config;
  attributes.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED;
  return Fd{static_cast<int>(::syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC))};
}

class Perf final : public Collector {
 public:
  explicit Perf(const Host& host) : online_file_(host.sysfs("devices/system/cpu/online")) {}

  Result<> open(const Host& host, const Options& options) {
    auto cpus = parse_cpus(options.text("collector.perf.cpus"));
    if (!cpus) return fail(cpus.error());
    chosen_cpus_ = std::move(*cpus);
    all_cpus_ = options.text("collector.perf.cpus").empty();
    for (const auto& kind : kKinds) {
      if (options.flag(kind.disable)) continue;
      const auto chosen = options.list(kind.choose);
      for (const auto& event : kEvents)
        if (event.type == kind.type && (chosen.empty() || std::ranges::find(chosen, event.name) != chosen.end()))
          sources_.push_back({&event.desc, event.type, event.config});
      for (const auto& name : chosen)
        if (std::ranges::none_of(kEvents, [&](const Event& e) { return e.type == kind.type && e.name == name; }))
          log::error("no such perf event", {{"flag", kind.choose}, {"value", name}});
    }
    LeftOut bad;
    for (const auto& tracepoint : options.list("collector.perf.tracepoint")) bad.add(add_tracepoint(host, tracepoint));
    bad_tracepoints_ = bad.outcome();
    cpus_changed();
    const int err = open_missing();
    if (counters_.empty() && !bad_tracepoints_) return bad_tracepoints_;
    // What this CPU or hypervisor cannot count is left out; nothing at all is an error.
    if (counters_.empty() && err != 0)
      return fail(from_errno("perf_event_open (CAP_PERFMON, kernel.perf_event_paranoid)", err));
    return {};
  }

  Result<> collect(BatchWriter& out) override {
    out.use(pool_);
    LeftOut left_out;
    left_out.add(bad_tracepoints_);
    if (cpus_changed()) open_missing();
    for (auto& c : counters_) {
      const auto value = read_counter(c);
      if (value) out.set(*c.source.desc, static_cast<double>(*value), Decimal(c.cpu));
      else left_out.add(value.error());
    }
    return left_out.outcome();
  }

 private:
  struct Source {
    const MetricDesc* desc;
    std::uint32_t type;
    std::uint64_t config;
  };
  struct Counter {
    Source source;
    int cpu;
    Fd fd;
    std::uint64_t enabled_ns = 0;  // how long it had counted at the last read
  };

  // Reads which CPUs are online, by their numbers: one that is off leaves a gap. True when they are others than before.
  bool cpus_changed() {
    const auto text = online_file_.read();
    const auto now = text ? *text : std::string_view();
    if (now == online_text_ && !online_.empty()) return false;
    online_text_ = now;
    online_.clear();
    if (const auto listed = parse_cpu_list(trim(now)))
      for (const auto cpu : *listed) online_.push_back(static_cast<int>(cpu));
    for (int cpu = 0; online_.empty() && cpu < ::sysconf(_SC_NPROCESSORS_ONLN); ++cpu) online_.push_back(cpu);
    return true;
  }
  // A CPU that was switched off took its counters along, and one that comes has none yet. The last error.
  int open_missing() {
    int err = 0;
    std::vector<Counter> counters;  // by event, then by CPU
    for (const auto& source : sources_)
      for (const int cpu : all_cpus_ ? online_ : chosen_cpus_) {
        const auto known = std::ranges::find_if(
            counters_, [&](const Counter& c) { return c.fd && c.cpu == cpu && c.source.desc == source.desc; });
        if (known != counters_.end()) {
          counters.push_back(std::move(*known));
          continue;
        }
        Fd fd = open_counter(source.type, source.config, cpu);
        if (fd) counters.push_back({source, cpu, std::move(fd), 0});
        else err = errno;
      }
    counters_ = std::move(counters);
    return err;
  }
  // One whose CPU was off for a moment gives nothing any more, or stands still for ever: it is opened once more.
  static Result<std::uint64_t> read_counter(Counter& c) {
    struct {
      std::uint64_t value, enabled_ns;
    } got{};
    int err = 0;
    for (const bool again : {false, true}) {
      if (again) c.fd = open_counter(c.source.type, c.source.config, c.cpu), c.enabled_ns = 0;
      const auto n = c.fd ? ::read(c.fd.get(), &got, sizeof got) : -1;
      err = n < 0 ? errno : ENODATA;
      if (n != static_cast<ssize_t>(sizeof got) || got.enabled_ns <= c.enabled_ns) continue;
      c.enabled_ns = got.enabled_ns;
      return got.value;
    }
    return fail(from_errno(fmt::format("perf counter {} of CPU {}", c.source.desc->name, c.cpu), err));
  }

  // "sched:sched_process_exec"
  Result<> add_tracepoint(const Host& host, const std::string& flag) {
    std::string_view event = flag;
    const std::string group(take_until(event, ':'));
    if (event.empty()) return malformed("--collector.perf.tracepoint", flag, "group:event");
    const std::string below = "/events/" + group + "/" + std::string(event) + "/id";
    auto text = read_kernel_file(host.sysfs("kernel/tracing" + below));
    if (!text) text = read_kernel_file(host.sysfs("kernel/debug/tracing" + below));
    if (!text) return fail(text.error());
    const auto id = parse_u64(trim(*text));
    if (!id) return malformed(below, trim(*text), "a number");
    const auto& desc = pool_->get("node_perf_" + metric_name(group + "_" + std::string(event)), counter,
                                  "Perf tracepoint " + flag, "cpu");
    sources_.push_back({&desc, PERF_TYPE_TRACEPOINT, *id});
    return {};
  }

  KernelFile online_file_;
  std::string online_text_;
  std::vector<int> online_, chosen_cpus_;
  bool all_cpus_ = true;
  std::vector<Source> sources_;
  std::vector<Counter> counters_;
  Result<> bad_tracepoints_;
  DescPoolPtr pool_ = std::make_shared<DescPool>();
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto perf = std::make_unique<Perf>(host);
  if (auto opened = perf->open(host, options); !opened) return fail(opened.error());
  return perf;
}

}  // namespace

extern const CollectorInfo collector_perf;
const CollectorInfo collector_perf{kFamilies, kFlags, make};

}  // namespace vitald
