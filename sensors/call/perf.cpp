// SPDX-License-Identifier: Apache-2.0
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
#include "sensors/read/kernel_tree.h"

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
  return Fd{static_cast<int>(::syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC))};
}

class Perf final : public Collector {
 public:
  Result<> open(const Host& host, const Options& options) {
    auto cpus = parse_cpus(options.text("collector.perf.cpus"));
    if (!cpus) return fail(cpus.error());
    for (int cpu = 0; options.text("collector.perf.cpus").empty() && cpu < ::sysconf(_SC_NPROCESSORS_ONLN); ++cpu)
      cpus->push_back(cpu);
    int err = 0;
    for (const auto& kind : kKinds) {
      if (options.flag(kind.disable)) continue;
      const auto chosen = options.list(kind.choose);
      for (const auto& event : kEvents)
        if (event.type == kind.type && (chosen.empty() || std::ranges::find(chosen, event.name) != chosen.end()))
          add(event.desc, event.type, event.config, *cpus, err);
      for (const auto& name : chosen)
        if (std::ranges::none_of(kEvents, [&](const Event& e) { return e.type == kind.type && e.name == name; }))
          log::error("no such perf event", {{"flag", kind.choose}, {"value", name}});
    }
    for (const auto& tracepoint : options.list("collector.perf.tracepoint"))
      if (auto done = add_tracepoint(host, tracepoint, *cpus, err); !done) return done;
    // What this CPU or hypervisor cannot count is left out; nothing at all is an error.
    if (counters_.empty() && err != 0)
      return fail(from_errno("perf_event_open (CAP_PERFMON, kernel.perf_event_paranoid)", err));
    return {};
  }

  Result<> collect(BatchWriter& out) override {
    out.use(pool_);
    for (const auto& c : counters_) {
      std::uint64_t value;
      if (::read(c.fd.get(), &value, sizeof value) != static_cast<ssize_t>(sizeof value))
        return fail(from_errno("perf counter", errno));
      out.set(*c.desc, static_cast<double>(value), Decimal(c.cpu));
    }
    return {};
  }

 private:
  struct Counter {
    const MetricDesc* desc;
    int cpu;
    Fd fd;
  };

  void add(const MetricDesc& desc, std::uint32_t type, std::uint64_t config, const std::vector<int>& cpus, int& err) {
    for (const int cpu : cpus) {
      Fd fd = open_counter(type, config, cpu);
      if (fd) counters_.push_back({&desc, cpu, std::move(fd)});
      else err = errno;
    }
  }

  // "sched:sched_process_exec"
  Result<> add_tracepoint(const Host& host, const std::string& flag, const std::vector<int>& cpus, int& err) {
    std::string_view event = flag;
    const std::string group(take_until(event, ':'));
    if (event.empty()) return malformed("--collector.perf.tracepoint", flag, "group:event");
    const std::string below = "/events/" + group + "/" + std::string(event) + "/id";
    auto text = read_kernel_file(host.sysfs("kernel/tracing" + below));
    if (!text) text = read_kernel_file(host.sysfs("kernel/debug/tracing" + below));
    if (!text) return fail(text.error());
    const auto id = parse_u64(trim(*text));
    if (!id) return malformed(below, trim(*text), "a number");
    add(pool_->get("node_perf_" + metric_name(group + "_" + std::string(event)), counter, "Perf tracepoint " + flag,
                   "cpu"),
        PERF_TYPE_TRACEPOINT, *id, cpus, err);
    return {};
  }

  std::vector<Counter> counters_;
  DescPoolPtr pool_ = std::make_shared<DescPool>();
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto perf = std::make_unique<Perf>();
  if (auto opened = perf->open(host, options); !opened) return fail(opened.error());
  return perf;
}

}  // namespace

extern const CollectorInfo collector_perf;
const CollectorInfo collector_perf{kFamilies, kFlags, make};

}  // namespace vitald
