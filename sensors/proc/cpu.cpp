// SPDX-License-Identifier: Apache-2.0
// Where CPU time went, from /proc/stat; and what is said of each CPU in /proc/cpuinfo and /sys/devices/system/cpu.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/proc/cpuinfo.h"
#include "sensors/read/cpu_list.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"
#include "sensors/read/name_filter.h"
#include "sensors/read/shared_file.h"

namespace vitald {
namespace {

constexpr MetricDesc kMetrics[] = {
    {"node_cpu_seconds_total", MetricType::counter, "Seconds the CPUs spent in each mode.", "cpu,mode", "seconds",
     "/proc/stat"},
    {"node_cpu_guest_seconds_total", MetricType::counter, "Seconds the CPUs spent in guests (VMs) for each mode.",
     "cpu,mode", "seconds", "/proc/stat"},
    {"node_cpu_info", MetricType::gauge, "CPU information from /proc/cpuinfo.",
     "package,core,cpu,vendor,family,model,model_name,microcode,stepping,cachesize", "", "/proc/cpuinfo"},
    {"node_cpu_frequency_hertz", MetricType::gauge, "CPU frequency in hertz from /proc/cpuinfo.", "package,core,cpu",
     "hertz", "/proc/cpuinfo"},
    {"node_cpu_flag_info", MetricType::gauge,
     "The `flags` field of CPU information from /proc/cpuinfo taken from the first core.", "flag", "", "/proc/cpuinfo"},
    {"node_cpu_bug_info", MetricType::gauge,
     "The `bugs` field of CPU information from /proc/cpuinfo taken from the first core.", "bug", "", "/proc/cpuinfo"},
    {"node_cpu_core_throttles_total", MetricType::counter, "Number of times this CPU core has been throttled.",
     "package,core", "", "/sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count"},
    {"node_cpu_package_throttles_total", MetricType::counter, "Number of times this CPU package has been throttled.",
     "package", "", "/sys/devices/system/cpu/cpu*/thermal_throttle/package_throttle_count"},
    {"node_cpu_isolated", MetricType::gauge,
     "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.", "cpu", "",
     "/sys/devices/system/cpu/isolated"},
    {"node_cpu_online", MetricType::gauge, "CPUs that are online and being scheduled.", "cpu", "",
     "/sys/devices/system/cpu/cpu*/online"},
};
constexpr const MetricDesc& kSeconds = row(kMetrics, "node_cpu_seconds_total");
constexpr const MetricDesc& kGuest = row(kMetrics, "node_cpu_guest_seconds_total");
constexpr const MetricDesc& kInfo = row(kMetrics, "node_cpu_info");
constexpr const MetricDesc& kFrequency = row(kMetrics, "node_cpu_frequency_hertz");
constexpr const MetricDesc& kFlagInfo = row(kMetrics, "node_cpu_flag_info");
constexpr const MetricDesc& kBugInfo = row(kMetrics, "node_cpu_bug_info");
constexpr const MetricDesc& kCoreThrottles = row(kMetrics, "node_cpu_core_throttles_total");
constexpr const MetricDesc& kPackageThrottles = row(kMetrics, "node_cpu_package_throttles_total");
constexpr const MetricDesc& kIsolated = row(kMetrics, "node_cpu_isolated");
constexpr const MetricDesc& kOnline = row(kMetrics, "node_cpu_online");

constexpr std::string_view kFlagsFlag = "collector.cpu.info.flags-include",
                           kBugsFlag = "collector.cpu.info.bugs-include";
constexpr FlagSpec kFlags[] = {
    {"collector.cpu.guest", FlagType::boolean, "true", "Enables metric node_cpu_guest_seconds_total"},
    {"collector.cpu.info", FlagType::boolean, "false", "Enables metric cpu_info"},
    {kFlagsFlag, FlagType::pattern, "",
     "Filter the `flags` field in cpuInfo with a value that must be a regular expression"},
    {kBugsFlag, FlagType::pattern, "",
     "Filter the `bugs` field in cpuInfo with a value that must be a regular expression"},
};

// The columns of a cpu line. guest and guest_nice are also inside user and nice (account_guest_time,
// kernel/sched/cputime.c), so a sum over modes must not take both.
constexpr std::string_view kModes[] = {"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"};
constexpr std::string_view kGuestModes[] = {"user", "nice"};
constexpr std::size_t kIdle = 3, kColumns = std::size(kModes) + std::size(kGuestModes);
// The unit of /proc/stat is USER_HZ, 100 on every architecture in use (include/asm-generic/param.h).
constexpr double kTicksPerSecond = 100;
// idle runs backwards by a tick or two (get_cpu_idle_time's sum of two clocks); by more than this the CPU
// was taken out and its counters start again.
constexpr std::uint64_t kJumpBackTicks = 300;

struct CpuTicks {
  std::uint64_t cpu = 0;
  std::size_t columns = 0;  // how many of them this kernel has
  std::uint64_t ticks[kColumns] = {};
};

// What can change only when a CPU comes or goes: read again when the kernel's lists of CPUs change.
class Topology {
 public:
  explicit Topology(const Host& host)
      : folder_(host.sysfs("devices/system/cpu")),
        watch_(folder_),
        online_(folder_ + "/online"),
        present_(folder_ + "/present") {}

  // True when the set of CPUs is another one than last time, or cannot be known.
  bool changed() {
    if (!watch_.changed()) return false;
    const auto online = online_.read();
    const bool known = online.has_value();
    now_.assign(online.value_or(""));
    if (const auto present = present_.read()) now_ += *present;
    if (known && scanned_ && now_ == before_) return false;
    before_.swap(now_);
    scanned_ = true;
    return true;
  }

  void scan(BatchWriter& out) {
    cores_.clear();
    packages_.clear();
    known_.clear();
    online_cpus_.clear();
    const auto names = list_directory(folder_);
    if (!names) return;  // an old or foreign tree without CPUs: nothing to say
    // Every kernel has the list of the CPUs that are there beside it; trees of fixtures may not.
    const bool whole = read_kernel_file(folder_ + "/present").has_value();
    const auto text = read_kernel_file(folder_ + "/online");
    const auto listed = text && whole ? parse_cpu_list(*text) : std::nullopt;
    for (const auto& name : *names) {
      std::string_view number = name;
      const auto id = take_prefix(number, "cpu") ? parse_u64(number) : std::nullopt;
      if (!id) continue;
      const auto cpu = folder_ + "/" + name;
      // One that cannot be taken out has no such file: cpu0 on x86 since Linux 6.5, or all without
      // CONFIG_HOTPLUG_CPU. The kernel's list of those online has it.
      if (const auto online = read_kernel_file(cpu + "/online")) {
        online_cpus_.push_back({std::string(number), trim(*online) == "1"});
      } else if (online.error().kind != Errc::gone) {
        out.problem(online.error());
      } else if (listed) {
        online_cpus_.push_back({std::string(number), std::ranges::find(*listed, *id) != listed->end()});
      }
      add_throttles(cpu);
    }
    scan_isolated(out);
  }

  void emit(BatchWriter& out) {
    for (const auto cpu : isolated_) out.set(kIsolated, 1, Decimal(cpu));
    for (auto& p : packages_)
      if (const auto n = read_number(p.file)) out.set(kPackageThrottles, *n, p.package);
    for (auto& c : cores_)
      if (const auto n = read_number(c.file)) out.set(kCoreThrottles, *n, c.package, c.core);
    for (const auto& [cpu, online] : online_cpus_) out.set(kOnline, online ? 1 : 0, cpu);
  }

 private:
  struct Throttle {
    std::string package, core;
    KernelFile file;
  };

  static std::optional<double> read_number(KernelFile& file) {
    const auto text = file.read();
    const auto n = text ? parse_u64(trim(*text)) : std::nullopt;
    return n ? std::optional(static_cast<double>(*n)) : std::nullopt;
  }
  static std::string number_text(const std::string& path) {
    const auto text = read_kernel_file(path);
    const auto n = text ? parse_u64(trim(*text)) : std::nullopt;
    return n ? std::to_string(*n) : std::string();
  }
  // Siblings share the counter: the first CPU of a core that has the file speaks for it, likewise per
  // package. Some machines count per core only.
  void add_first(std::vector<Throttle>& list, std::string package, std::string core, const std::string& path) {
    auto key = package + "/" + core;
    if (known_.contains(key)) return;
    KernelFile file(path);
    if (!read_number(file)) return;
    known_.insert(std::move(key));
    list.push_back({std::move(package), std::move(core), std::move(file)});
  }
  void add_throttles(const std::string& cpu) {
    auto package = number_text(cpu + "/topology/physical_package_id");
    auto core = number_text(cpu + "/topology/core_id");
    if (package.empty() || core.empty()) return;
    add_first(cores_, package, std::move(core), cpu + "/thermal_throttle/core_throttle_count");
    add_first(packages_, std::move(package), {}, cpu + "/thermal_throttle/package_throttle_count");
  }
  void scan_isolated(BatchWriter& out) {
    isolated_.clear();
    const auto path = folder_ + "/isolated";
    const auto text = read_kernel_file(path);
    if (!text) return;  // before 4.1 there is no such file
    if (auto cpus = parse_cpu_list(*text)) isolated_ = std::move(*cpus);
    else out.problem(malformed(path, trim(*text), "a list like 1,3-5").value());
  }

  std::string folder_, before_, now_;
  bool scanned_ = false;
  DeviceWatch watch_;
  KernelFile online_, present_;
  std::vector<Throttle> cores_, packages_;
  std::unordered_set<std::string> known_;  // of both: "1/5" and "1/"
  std::vector<std::pair<std::string, bool>> online_cpus_;
  std::vector<std::uint64_t> isolated_;
};

// The words of a line that a pattern chose, matched again only when the line is another one.
class ChosenWords {
 public:
  explicit ChosenWords(NameFilter wanted) : wanted_(std::move(wanted)) {}

  void emit(BatchWriter& out, const MetricDesc& desc, std::string_view line) {
    if (line != line_) {
      line_ = line;
      words_.clear();
      for (auto word = take_word(line); !word.empty(); word = take_word(line))
        if (!wanted_.ignored(word)) words_.emplace_back(word);
    }
    for (const auto& word : words_) out.set(desc, 1, word);
  }

 private:
  NameFilter wanted_;
  std::string line_;
  std::vector<std::string> words_;
};
// Nothing when no pattern is given: no words are asked for.
Result<std::optional<ChosenWords>> chosen_words(const Options& options, std::string_view flag) {
  const auto pattern = options.text(flag);
  if (pattern.empty()) return std::optional<ChosenWords>();
  auto wanted = NameFilter::make("", pattern);
  if (!wanted) return fail(wanted.error());
  return std::optional<ChosenWords>(ChosenWords(std::move(*wanted)));
}

class Cpu final : public Collector {
 public:
  struct Config {
    bool guest, info, frequency;
    std::optional<ChosenWords> flags, bugs;
  };
  Cpu(const Host& host, Config config)
      : config_(std::move(config)),
        clock_(host.clock()),
        stat_(host, host.procfs("stat")),
        cpuinfo_(host.procfs("cpuinfo")),
        topology_(host) {}

  Result<> collect(BatchWriter& out) override {
    LeftOut left_out;
    left_out.add(collect_stat(out));
    const bool changed = topology_.changed();
    if (changed) topology_.scan(out);
    topology_.emit(out);
    if (config_.info) {
      const auto info = collect_info(out, changed);
      if (!info) left_out.add(info.error());
    }
    return left_out.outcome();
  }

 private:
  // "cpu3 64967 102 17818 1170110 665 0 60 0 5 4"
  Result<> collect_stat(BatchWriter& out) {
    auto text = stat_.read();
    if (!text) return fail(text.error());
    if (is_blank(*text)) return malformed(stat_.path(), "", "lines 'cpuN' and numbers");
    LeftOut left_out;
    now_.clear();
    while (text->starts_with("cpu")) {
      const auto line = take_line(*text);
      std::string_view rest = line.substr(3);
      if (rest.empty() || is_blank(rest.front())) continue;  // the sum of all
      CpuTicks row;
      const auto cpu = take_u64(rest);
      while (row.columns < kColumns) {
        const auto n = take_u64(rest);
        if (!n) break;
        row.ticks[row.columns++] = *n;
      }
      const bool torn = row.columns < kColumns ? !trim(rest).empty() : !(rest.empty() || is_blank(rest.front()));
      if (!cpu || torn || row.columns == 0) {
        left_out.add(malformed(stat_.path(), line, "'cpuN' and up to 10 numbers"));
        continue;
      }
      row.cpu = *cpu;
      hold_back(row);
      emit(out, row);
      now_.push_back(row);
    }
    before_.swap(now_);
    return left_out.outcome();
  }

  // A counter never runs backwards: the old value stays until the new one has passed it.
  void hold_back(CpuTicks& row) const {
    const auto* old = now_.size() < before_.size() ? &before_[now_.size()] : nullptr;
    if (!old || old->cpu != row.cpu) {
      const auto found = std::ranges::find(before_, row.cpu, &CpuTicks::cpu);
      if (found == before_.end()) return;
      old = &*found;
    }
    const auto idle = row.columns > kIdle ? row.ticks[kIdle] : 0;
    if (row.columns > kIdle && idle + kJumpBackTicks <= old->ticks[kIdle]) return;
    row.columns = std::max(row.columns, old->columns);
    for (std::size_t i = 0; i < row.columns; ++i) row.ticks[i] = std::max(row.ticks[i], old->ticks[i]);
  }

  void emit(BatchWriter& out, const CpuTicks& row) const {
    const Decimal cpu(row.cpu);
    const auto modes = std::min(row.columns, std::size(kModes));
    for (std::size_t i = 0; i < modes; ++i)
      out.set(kSeconds, static_cast<double>(row.ticks[i]) / kTicksPerSecond, cpu, kModes[i]);
    if (!config_.guest) return;
    for (std::size_t i = modes; i < row.columns; ++i)
      out.set(kGuest, static_cast<double>(row.ticks[i]) / kTicksPerSecond, cpu, kGuestModes[i - modes]);
  }

  // Without the frequencies nothing in cpuinfo changes while the CPUs stay, but for the microcode that may be loaded
  // late (/sys/devices/system/cpu/microcode/reload); making it costs the kernel microseconds per CPU.
  Result<> collect_info(BatchWriter& out, bool changed) {
    std::string_view rest = kept_cpuinfo_;
    const auto now_ns = clock_.boot_ns();
    if (config_.frequency || changed || rest.empty() || now_ns - cpuinfo_ns_ >= kCpuinfoNs) {
      cpuinfo_ns_ = now_ns;
      const auto text = cpuinfo_.read();
      if (!text) return fail(text.error());
      rest = *text;
      if (!config_.frequency) rest = kept_cpuinfo_.assign(*text);
    }
    const auto start = trim(rest.substr(0, 80));
    bool first = true, any = false;
    LeftOut left_out;
    CpuInfos infos(rest);
    while (const auto info = infos.next()) {
      const auto cpu = parse_u64(info->processor);
      if (!cpu) {
        left_out.add(malformed(cpuinfo_.path(), "processor: " + std::string(info->processor), "a number"));
        any = true;
        continue;
      }
      const Decimal number(*cpu);
      out.set(kInfo, 1, info->package, info->core, number, info->vendor, info->family, info->model, info->model_name,
              info->microcode, info->stepping, info->cache_size);
      auto mhz_text = trim(info->mhz);
      if (mhz_text.ends_with("MHz")) mhz_text.remove_suffix(3);
      const auto mhz = parse_double(mhz_text);
      if (config_.frequency && mhz) out.set(kFrequency, *mhz * 1e6, info->package, info->core, number);
      if (std::exchange(first, false)) {
        if (config_.flags) config_.flags->emit(out, kFlagInfo, info->flags);
        if (config_.bugs) config_.bugs->emit(out, kBugInfo, info->bugs);
      }
    }
    if (first && !any)
      return fail(Errc::malformed, fmt::format("{}: '{}': a 'processor' line expected", cpuinfo_.path(), start));
    return left_out.outcome();
  }
  static constexpr std::int64_t kCpuinfoNs = 60'000'000'000;

  Config config_;
  const Clock& clock_;
  SharedFile stat_;
  KernelFile cpuinfo_;
  Topology topology_;
  std::string kept_cpuinfo_;
  std::int64_t cpuinfo_ns_ = 0;  // when it was read
  std::vector<CpuTicks> before_, now_;
};

constexpr std::string_view kOthersFlags[] = {"collector.disable-defaults", "collector.cpufreq"};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto flags = chosen_words(options, kFlagsFlag);
  if (!flags) return fail(flags.error());
  auto bugs = chosen_words(options, kBugsFlag);
  if (!bugs) return fail(bugs.error());
  const bool info = options.flag("collector.cpu.info") || flags->has_value() || bugs->has_value();
  // As in node_exporter the frequencies of cpuinfo belong to cpufreq and go with it, whatever switches it off.
  const auto &defaults_off = kOthersFlags[0], &cpufreq = kOthersFlags[1];
  const bool defaults = !options.spec(defaults_off) || !options.flag(defaults_off);
  const bool frequency = !options.spec(cpufreq) || (options.flag(cpufreq) && (defaults || options.given(cpufreq)));
  return std::make_unique<Cpu>(
      host, Cpu::Config{options.flag("collector.cpu.guest"), info, frequency, std::move(*flags), std::move(*bugs)});
}

}  // namespace

extern const CollectorInfo collector_cpu;
const CollectorInfo collector_cpu{kMetrics, kFlags, make, kOthersFlags};

}  // namespace vitald
