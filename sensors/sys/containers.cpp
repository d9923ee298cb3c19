// SPDX-License-Identifier: Apache-2.0
// CPU, memory, block I/O, tasks and pressure of each container, pod and guest, from its cgroup, under the names that
// cAdvisor and the kubelet made known. On v2, on v1, and where a host has both on whichever has the controllers. On v2
// a BPF iterator reads them all at once where the kernel has it, files otherwise.
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "core/text/utf8.h"
#include "sensors/bpf/cgroup_iterator.h"
#include "sensors/bpf/cgroup_source.h"
#include "sensors/owner/cgroup_files.h"
#include "sensors/owner/table.h"
#include "sensors/owner/tree.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using cgroup::kIoNumbers;
using cgroup::kNumbers;

constexpr std::string_view kLabels = "id,name,owner_kind,owner,namespace,pod,container,guest";
constexpr std::string_view kDeviceLabels = "device,id,name,owner_kind,owner,namespace,pod,container,guest";

// One number of a cgroup: its family, and a label in front of the owner's where several numbers are one family.
struct Row {
  MetricDesc desc;
  Label extra = {};
};
constexpr auto counter = MetricType::counter;
constexpr auto gauge = MetricType::gauge;
constexpr Row kRows[kNumbers] = {
    {{"container_cpu_usage_seconds_total", counter,
      "CPU time that a container, pod or guest has used. The rows of a pod hold those of its containers: choose with "
      "`container!=\"\"`.",
      "cpu,id,name,owner_kind,owner,namespace,pod,container,guest", "seconds", "cpu.stat; v1: cpuacct.usage"},
     {"cpu", "total"}},
    {{"container_cpu_user_seconds_total", counter, "Of it in user mode.", kLabels, "seconds",
      "cpu.stat; v1: cpuacct.stat"}},
    {{"container_cpu_system_seconds_total", counter, "Of it in the kernel.", kLabels, "seconds",
      "cpu.stat; v1: cpuacct.stat"}},
    {{"container_cpu_cfs_periods_total", counter,
      "Periods of cpu.max in which it wanted to run; absent without the cpu controller.", kLabels, "", "cpu.stat"}},
    {{"container_cpu_cfs_throttled_periods_total", counter, "Of these those in which its quota was used up.", kLabels,
      "", "cpu.stat"}},
    {{"container_cpu_cfs_throttled_seconds_total", counter,
      "Time for which its run queues were throttled by its quota, of all CPUs together.", kLabels, "seconds",
      "cpu.stat"}},
    {{"container_spec_cpu_quota", gauge, "CPU time it may use in a period, in microseconds; absent without a limit.",
      kLabels, "", "cpu.max; v1: cpu.cfs_quota_us"}},
    {{"container_spec_cpu_period", gauge, "The period of its quota, in microseconds.", kLabels, "",
      "cpu.max; v1: cpu.cfs_period_us"}},
    {{"container_spec_cpu_shares", gauge,
      "Its weight among its neighbours, in shares of v1 (1024 is the default); on v2 made of cpu.weight as runtimes "
      "make that of shares.",
      kLabels, "", "cpu.weight; v1: cpu.shares"}},
    {{"container_memory_usage_bytes", gauge, "Memory charged to it, with its page cache.", kLabels, "bytes",
      "memory.current; v1: memory.usage_in_bytes"}},
    {{"container_memory_working_set_bytes", gauge,
      "Memory charged to it without page cache that was not used of late: what the kubelet evicts by.", kLabels,
      "bytes", "memory.current, memory.stat inactive_file"}},
    {{"container_memory_rss", gauge, "Anonymous memory, with huge pages; in bytes.", kLabels, "bytes",
      "memory.stat anon; v1: total_rss"}},
    {{"container_memory_cache", gauge, "Page cache, with shared memory; in bytes.", kLabels, "bytes",
      "memory.stat file; v1: total_cache"}},
    {{"container_memory_mapped_file", gauge, "Files mapped into memory; in bytes.", kLabels, "bytes",
      "memory.stat file_mapped; v1: total_mapped_file"}},
    {{"container_memory_swap", gauge, "Swap in use; in bytes.", kLabels, "bytes",
      "memory.swap.current; v1: memory.stat total_swap"}},
    {{"container_memory_max_usage_bytes", gauge, "The most memory that was ever charged to it.", kLabels, "bytes",
      "memory.peak (since 5.19); v1: memory.max_usage_in_bytes"}},
    {{"container_memory_failcnt", counter, "How often its memory was about to go beyond its limit.", kLabels, "",
      "memory.events max; v1: memory.failcnt"}},
    {{"container_oom_events_total", counter, "Its processes that the kernel killed for want of memory.", kLabels, "",
      "memory.events oom_kill; v1: memory.oom_control (since 4.13)"}},
    {{"container_memory_failures_total", counter,
      "Page faults, with those of cgroups below it: pgmajfault those that had to read a disk.",
      "failure_type,scope,id,name,owner_kind,owner,namespace,pod,container,guest", "", "memory.stat"},
     {"failure_type", "pgfault"}},
    {{"container_memory_failures_total", counter,
      "Page faults, with those of cgroups below it: pgmajfault those that had to read a disk.",
      "failure_type,scope,id,name,owner_kind,owner,namespace,pod,container,guest", "", "memory.stat"},
     {"failure_type", "pgmajfault"}},
    {{"container_spec_memory_limit_bytes", gauge, "The most memory it may use; absent without a limit.", kLabels,
      "bytes", "memory.max; v1: memory.limit_in_bytes"}},
    {{"container_spec_memory_swap_limit_bytes", gauge,
      "The most swap it may use, on v1 memory and swap together; absent without a limit.", kLabels, "bytes",
      "memory.swap.max; v1: memory.memsw.limit_in_bytes"}},
    {{"container_threads", gauge, "Threads in it.", kLabels, "", "pids.current"}},
    {{"container_threads_max", gauge, "The most threads there may be; absent without a limit.", kLabels, "",
      "pids.max"}},
    {{"container_pressure_cpu_waiting_seconds_total", counter,
      "Time in which some of its tasks waited for a CPU. "
      "By the BPF iterator pressure is as the kernel added it up last, some two seconds before.",
      kLabels, "seconds", "cpu.pressure some"}},
    {{"container_pressure_cpu_stalled_seconds_total", counter, "Time in which all of its tasks waited for a CPU.",
      kLabels, "seconds", "cpu.pressure full"}},
    {{"container_pressure_memory_waiting_seconds_total", counter, "Time in which some of its tasks waited for memory.",
      kLabels, "seconds", "memory.pressure some"}},
    {{"container_pressure_memory_stalled_seconds_total", counter, "Time in which all of its tasks waited for memory.",
      kLabels, "seconds", "memory.pressure full"}},
    {{"container_pressure_io_waiting_seconds_total", counter, "Time in which some of its tasks waited for I/O.",
      kLabels, "seconds", "io.pressure some"}},
    {{"container_pressure_io_stalled_seconds_total", counter, "Time in which all of its tasks waited for I/O.", kLabels,
      "seconds", "io.pressure full"}},
};
constexpr std::string_view kScope = "hierarchy";

constexpr MetricDesc kIo[kIoNumbers] = {
    {"container_fs_reads_bytes_total", counter, "Bytes read from a disk.", kDeviceLabels, "bytes",
     "io.stat; v1: blkio.throttle.io_service_bytes_recursive"},
    {"container_fs_writes_bytes_total", counter, "Bytes written to a disk.", kDeviceLabels, "bytes",
     "io.stat; v1: blkio.throttle.io_service_bytes_recursive"},
    {"container_fs_reads_total", counter, "Reads from a disk.", kDeviceLabels, "",
     "io.stat; v1: blkio.throttle.io_serviced_recursive"},
    {"container_fs_writes_total", counter, "Writes to a disk.", kDeviceLabels, "",
     "io.stat; v1: blkio.throttle.io_serviced_recursive"},
};
constexpr MetricDesc kFound[] = {
    {"vitald_container_cgroups", gauge, "Cgroups that have rows container_*.", "", "", "vitald"},
    {"vitald_container_cgroups_left_out", gauge,
     "Cgroups, and folders of such, that were seen and had no room among the rows container_*.", "", "", "vitald"},
    {"vitald_container_cgroups_by_file", gauge,
     "Of the cgroups that have rows container_* those of which files were read, and not all by the BPF iterator.", "",
     "", "vitald"},
};

// A family of two numbers is one.
consteval auto families() {
  std::array<MetricDesc, kNumbers - 1 + kIoNumbers + std::size(kFound)> out{};
  std::size_t at = 0;
  for (const auto& row : kRows)
    if (at == 0 || out[at - 1].name != row.desc.name) out[at++] = row.desc;
  for (const auto& desc : kIo) out[at++] = desc;
  for (const auto& desc : kFound) out[at++] = desc;
  return out;
}
constexpr auto kMetrics = families();

constexpr std::string_view kKindNames[] = {"container", "pod", "guest", "unit"};
constexpr FlagSpec kFlags[] = {
    {.name = "collector.containers.kinds",
     .type = FlagType::words,
     .fallback = "container,pod,guest",
     .help = "Whose cgroups have rows container_*; unit: each systemd unit's as well.",
     .choices = kKindNames},
    {.name = "collector.containers.bpf",
     .type = FlagType::boolean,
     .fallback = "true",
     .help = "Read cgroups of v2 by a BPF iterator where the kernel has it (Linux 6.1) and CAP_BPF and CAP_PERFMON are "
             "there: a thirtieth of what their files take. Otherwise the files are read."},
};

// "8:0" -> "/dev/sda". A number may be another disk's after one was plugged out: all are asked for again when the
// kernel has told of any.
class DeviceNames {
 public:
  explicit DeviceNames(const Host& host) : folder_(host.sysfs("dev/block")), watch_(folder_) {}

  void begin() {
    if (watch_.changed()) names_.clear();
  }
  const std::string& name(const std::string& number) {
    const auto [at, is_new] = names_.try_emplace(number, number);
    if (!is_new) return at->second;
    const auto text = read_kernel_file(folder_ + "/" + number + "/uevent");
    if (!text) return at->second;
    std::string_view rest = *text;
    while (!rest.empty()) {
      auto line = take_line(rest);
      if (take_prefix(line, "DEVNAME=")) at->second = fmt::format("/dev/{}", line);
    }
    return at->second;
  }

 private:
  const std::string folder_;
  DeviceWatch watch_;
  std::map<std::string, std::string> names_;
};

class Containers final : public Collector {
 public:
  Containers(const Host& host, std::string root, bool v2, const CgroupTree::Kinds& kinds, bool bpf)
      : root_(std::move(root)),
        v2_(v2),
        ticks_(host.clock_ticks_per_second()),
        clock_(host.clock()),
        owners_(host.shared<OwnerTable>()),
        devices_(host),
        // On v1 a container has the same place in the hierarchy of each controller.
        tree_(v2_ ? root_ : root_ + "/memory", kinds, host.clock()) {
    if (!v2_) return;
    source_.emplace(
        [&host, bpf, this]() -> Result<std::unique_ptr<CgroupIterator>> {
          if (!bpf) return fail(Errc::absent, "--no-collector.containers.bpf");
          return CgroupIterator::load(host, root_);
        },
        clock_);
  }
  ~Containers() override {
    for (auto& c : all_) owners_.release(c.owner);
  }
  Containers(const Containers&) = delete;
  Containers& operator=(const Containers&) = delete;

  Result<> collect(BatchWriter& out) override {
    const auto changed = tree_.refresh();
    if (!changed) return absent_when_gone(changed.error());
    if (*changed) follow();
    owners_.cycle(clock_.boot_ns());
    devices_.begin();
    LeftOut left_out;
    read_all(left_out);
    for (auto& c : all_) call(c);
    emit(out);
    return left_out.outcome();
  }
  std::string status() const override {
    auto text = fmt::format("{} cgroups on {}", all_.size(), v2_ ? "v2" : "v1");
    if (source_) text += ", " + source_->status();
    if (!tree_.is_told()) text += ", looked for every 15 s (fs.inotify.max_user_instances or max_user_watches)";
    if (tree_.left_out() > 0) text += fmt::format(", {} left out: too many", tree_.left_out());
    return text;
  }

 private:
  struct Container {
    std::string path;
    OwnerId owner = kOtherOwner;
    OwnerPtr called;
    std::string id;                          // the path as text
    std::unique_ptr<cgroup::Reader> reader;  // while its files are read
    std::vector<Label> labels;
    PackedLabels packed;  // the same
    cgroup::Values values;
  };

  // Cgroups that stay keep their open files; both are sorted by path.
  void follow() {
    std::vector<Container> now;
    auto old = all_.begin();
    for (const auto& [path, found] : tree_.found()) {
      for (; old != all_.end() && old->path < path; ++old) owners_.release(old->owner);
      if (old != all_.end() && old->path == path) {
        now.push_back(std::move(*old++));
        continue;
      }
      Container c;
      c.path = path;
      c.owner = owners_.hold(v2_ ? CgroupPaths{path, ""} : CgroupPaths{"/", path});
      now.push_back(std::move(c));
    }
    for (; old != all_.end(); ++old) owners_.release(old->owner);
    all_ = std::move(now);
    for (auto& c : all_) c.called.reset();  // the labels are views, also of the id
    if (!source_) return;
    std::vector<std::string> paths;
    for (const auto& c : all_) paths.push_back(c.path);
    source_->want(std::move(paths));
  }

  void read_all(LeftOut& left_out) {
    if (source_) source_->read(left_out);
    by_file_ = 0;
    for (std::size_t i = 0; i < all_.size(); ++i) {
      auto& c = all_[i];
      if (source_ && source_->get(i, c.values, left_out)) {
        c.reader.reset();
        continue;
      }
      ++by_file_;
      if (!c.reader) c.reader = v2_ ? cgroup::v2_reader(root_ + c.path) : cgroup::v1_reader(root_, c.path, ticks_);
      c.reader->read(c.values, left_out);
    }
  }

  void call(Container& c) {
    auto called = owners_.at(c.owner);
    if (called == c.called) return;
    c.called = std::move(called);
    const auto& owner = c.called->owner;
    c.id = escaped_utf8(c.path);
    // No other one ends with a backslash: each of their own is escaped.
    if (c.id != c.path && tree_.found().contains(c.id)) c.id += '\\';
    c.labels.assign({{"id", c.id}, {"name", owner.container_id.empty() ? owner.name : owner.container_id}});
    c.labels.insert(c.labels.end(), c.called->labels.begin(), c.called->labels.end());
    c.packed = PackedLabels(c.labels);
  }

  void emit(BatchWriter& out) {
    std::vector<Label> labels;
    for (std::size_t i = 0; i < kNumbers; ++i)
      for (const auto& c : all_) {
        const auto value = c.values.numbers[i];
        if (std::isnan(value)) continue;
        out.set_packed(kRows[i].desc, value, extras_[i], c.packed);
      }
    for (std::size_t i = 0; i < kIoNumbers; ++i)
      for (const auto& c : all_)
        for (const auto& io : c.values.io) {
          if (std::isnan(io.values[i])) continue;
          labels.assign({{"device", devices_.name(io.device)}});
          labels.insert(labels.end(), c.labels.begin(), c.labels.end());
          out.set_labels(kIo[i], io.values[i], labels);
        }
    out.set(kFound[0], static_cast<double>(all_.size()));
    out.set(kFound[1], static_cast<double>(tree_.left_out()));
    out.set(kFound[2], static_cast<double>(by_file_));
  }

  // What is before them in each of the rows.
  static std::array<PackedLabels, kNumbers> extras() {
    std::array<PackedLabels, kNumbers> out;
    for (std::size_t i = 0; i < kNumbers; ++i) {
      std::vector<Label> labels;
      if (!kRows[i].extra.name.empty()) labels.push_back(kRows[i].extra);
      if (kRows[i].extra.name == "failure_type") labels.push_back({"scope", kScope});
      out[i] = PackedLabels(labels);
    }
    return out;
  }

  const std::array<PackedLabels, kNumbers> extras_ = extras();
  const std::string root_;
  const bool v2_;
  const double ticks_;
  const Clock& clock_;
  OwnerTable& owners_;
  DeviceNames devices_;
  CgroupTree tree_;
  std::optional<CgroupSource> source_;  // on v2
  std::size_t by_file_ = 0;
  std::vector<Container> all_;  // by path
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  CgroupTree::Kinds kinds;
  auto words = options.text("collector.containers.kinds");
  while (!words.empty()) {
    const auto kind = trim(take_until(words, ','));
    kinds.container = kinds.container || kind == "container";
    kinds.pod = kinds.pod || kind == "pod";
    kinds.guest = kinds.guest || kind == "guest";
    kinds.unit = kinds.unit || kind == "unit";
  }
  if (!kinds.container && !kinds.pod && !kinds.guest && !kinds.unit)
    return fail(Errc::malformed,
                "--collector.containers.kinds: none is named, so nothing comes of it; expected some of container, pod, "
                "guest, unit (--no-collector.containers switches it off)");
  const auto root = host.sysfs("fs/cgroup");
  const bool bpf = options.flag("collector.containers.bpf");
  if (read_kernel_file(root + "/cgroup.controllers")) return std::make_unique<Containers>(host, root, true, kinds, bpf);
  // A hybrid host's v2 has no controllers: what is counted is on v1.
  if (list_directory(root + "/memory")) return std::make_unique<Containers>(host, root, false, kinds, false);
  return fail(Errc::absent, fmt::format("no cgroups in {}", root));
}

}  // namespace

extern const CollectorInfo collector_containers;
const CollectorInfo collector_containers{kMetrics, kFlags, make};

}  // namespace vitald
