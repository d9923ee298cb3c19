// SPDX-License-Identifier: Apache-2.0
// vitald itself: its process, as client_golang names it, and its own instruments.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "core/collector.h"
#include "core/instruments.h"
#include "core/os/fd.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/shared_file.h"

namespace vitald {
namespace {

enum Process : std::size_t {
  cpu,
  open_fds,
  max_fds,
  virtual_bytes,
  virtual_max,
  resident,
  start_time,
  received,
  sent,
  host_view
};
constexpr MetricDesc kMetrics[] = {
    {"process_cpu_seconds_total", MetricType::counter, "Total user and system CPU time spent in seconds.", "",
     "seconds", "clock_gettime(2)"},
    {"process_open_fds", MetricType::gauge, "Number of open file descriptors.", "", "", "/proc/self/fd"},
    {"process_max_fds", MetricType::gauge, "Maximum number of open file descriptors.", "", "", "getrlimit(2)"},
    {"process_virtual_memory_bytes", MetricType::gauge, "Virtual memory size in bytes.", "", "bytes",
     "/proc/self/statm"},
    {"process_virtual_memory_max_bytes", MetricType::gauge, "Maximum amount of virtual memory available in bytes.", "",
     "bytes", "getrlimit(2)"},
    {"process_resident_memory_bytes", MetricType::gauge, "Resident memory size in bytes.", "", "bytes",
     "/proc/self/statm"},
    {"process_start_time_seconds", MetricType::gauge, "Start time of the process since unix epoch in seconds.", "",
     "seconds", "/proc/self/stat"},
    {"process_network_receive_bytes_total", MetricType::counter,
     "Number of bytes received by the process over the network.", "", "bytes", "/proc/net/netstat"},
    {"process_network_transmit_bytes_total", MetricType::counter,
     "Number of bytes sent by the process over the network.", "", "bytes", "/proc/net/netstat"},
    {"vitald_host_view", MetricType::gauge,
     "1 where the host itself is seen: kernel (--path.procfs and --path.sysfs are the running kernel's), network (our "
     "network namespace is theirs), processes (all of the machine), pids (our PID "
     "namespace is theirs), mounts (--path.rootfs is the root of process 1). "
     "What is 0 is left out or read in another way; the start-up report says which.",
     "of", "", "statfs(2), stat(2), /proc/1/mountinfo"},
};

constexpr FlagSpec kFlags[] = {
    {"web.disable-exporter-metrics", FlagType::boolean, "false",
     "Exclude metrics about the exporter itself (promhttp_*, process_*)."},
};

class Self final : public Collector {
 public:
  Self(const Host& host, bool exporter_metrics)
      : host_(host), exporter_metrics_(exporter_metrics), netstat_(host, "/proc/net/netstat") {}

  Result<> collect(BatchWriter& out) override {
    walk_instruments(out);
    const auto& view = host_.view();
    out.set(kMetrics[host_view], view.kernel, "kernel");
    out.set(kMetrics[host_view], view.network, "network");
    out.set(kMetrics[host_view], view.processes, "processes");
    out.set(kMetrics[host_view], view.pids, "pids");
    out.set(kMetrics[host_view], view.mounts, "mounts");
    return exporter_metrics_ ? process(out) : Result<>{};
  }

 private:
  Result<> process(BatchWriter& out) {
    out.set(kMetrics[cpu], static_cast<double>(SystemClock::read(CLOCK_PROCESS_CPUTIME_ID)) / 1e9);
    if (const auto fds = count_fds()) out.set(kMetrics[open_fds], static_cast<double>(*fds));
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) out.set(kMetrics[max_fds], static_cast<double>(limit.rlim_cur));
    if (getrlimit(RLIMIT_AS, &limit) == 0) out.set(kMetrics[virtual_max], static_cast<double>(limit.rlim_cur));

    // "7040 1876 1603 151 0 2130 0": pages; size, resident, ...
    const auto statm = statm_.read();
    if (!statm) return fail(statm.error());
    std::string_view rest = *statm;
    const auto size = take_u64(rest), pages = take_u64(rest);
    if (!size || !pages)
      return fail(Errc::malformed, fmt::format("{}: '{}', expected numbers of pages", statm_.path(), trim(*statm)));
    out.set(kMetrics[virtual_bytes], static_cast<double>(*size) * static_cast<double>(host_.page_size_bytes()));
    out.set(kMetrics[resident], static_cast<double>(*pages) * static_cast<double>(host_.page_size_bytes()));
    if (start_s_ == 0) start_s_ = read_start();
    if (start_s_ > 0) out.set(kMetrics[start_time], start_s_);
    network(out);
    return {};
  }

  // Of the whole network namespace, as client_golang counts.
  // "IpExt: InNoRoutes InTruncatedPkts ... InOctets OutOctets ..."
  // "IpExt: 0 0 ... 9381227 8123711 ..."
  void network(BatchWriter& out) {
    const auto text = netstat_.read();
    if (!text) return;  // a kernel without it
    for (std::string_view lines = *text; !lines.empty();) {
      auto names = take_line(lines);
      // Two lines of one name; where one is missing, the next pair begins a line earlier.
      if (!names.starts_with("IpExt:") || !lines.starts_with("IpExt:")) continue;
      auto values = take_line(lines);
      while (!names.empty()) {
        const auto name = take_word(names), value = take_word(values);
        const auto bytes = name == "InOctets" || name == "OutOctets" ? parse_u64(value) : std::nullopt;
        if (bytes) out.set(kMetrics[name == "InOctets" ? received : sent], static_cast<double>(*bytes));
      }
    }
  }

  // "12 (vitald) S 1 ...": field 22 is the start in clock ticks after boot (proc(5)); "btime 1700000000" in
  // /proc/stat is when that was.
  double read_start() const {
    const auto stat = read_kernel_file("/proc/self/stat");
    if (!stat) return 0;
    std::string_view rest = stat->substr(std::min(stat->size(), stat->rfind(')') + 1));
    for (int field = 3; field < 22; ++field) take_word(rest);
    const auto ticks = parse_u64(take_word(rest));
    const auto boot = read_kernel_file("/proc/stat");
    if (!ticks || !boot) return 0;
    for (std::string_view lines = *boot; !lines.empty();) {
      auto line = take_line(lines);
      if (!take_prefix(line, "btime ")) continue;
      if (const auto btime = parse_u64(line))
        return static_cast<double>(*btime) + static_cast<double>(*ticks) / host_.clock_ticks_per_second();
    }
    return 0;
  }

  // Since Linux 6.2 (f1f1f2569901) the directory's size is the number of descriptors; before it is 0.
  std::optional<std::uint64_t> count_fds() {
    if (!fds_) fds_.reset(open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct stat st {};
    if (!fds_ || fstat(fds_.get(), &st) != 0) return std::nullopt;
    if (st.st_size > 0) return static_cast<std::uint64_t>(st.st_size);
    const auto names = list_directory("/proc/self/fd");
    if (!names) return std::nullopt;
    return names->size();
  }

  void walk_instruments(BatchWriter& out) {
    instruments().each([&](const MetricDesc& family, const Instruments::Instrument& instrument) {
      if (!exporter_metrics_ && family.name.starts_with("promhttp_")) return;
      const auto& labels = instrument.label_values;
      if (const auto* h = std::get_if<prometheus::Histogram>(&instrument.value))
        histogram(out, family, h->Collect().histogram, labels);
      else if (const auto* c = std::get_if<prometheus::Counter>(&instrument.value))
        out.set_values(family, c->Value(), labels);
      else out.set_values(family, std::get<prometheus::Gauge>(instrument.value).Value(), labels);
    });
  }

  void histogram(BatchWriter& out, const MetricDesc& family, const prometheus::ClientMetric::Histogram& h,
                 std::span<const std::string_view> labels) {
    bounds_.clear(), counts_.clear();
    std::uint64_t below = 0;
    for (const auto& bucket : h.bucket) {
      counts_.push_back(bucket.cumulative_count - below);
      below = bucket.cumulative_count;
      bounds_.push_back(bucket.upper_bound);
    }
    if (!bounds_.empty()) bounds_.pop_back();  // +Inf
    out.histogram_values(family, {bounds_, counts_, h.sample_sum}, labels);
  }

  const Host& host_;
  const bool exporter_metrics_;
  // Of this process' own /proc, whatever --path.procfs says: another one may number processes in another namespace, or
  // be a copy of files.
  KernelFile statm_{"/proc/self/statm"};
  SharedFile netstat_;
  Fd fds_;
  double start_s_ = 0;
  std::vector<double> bounds_;
  std::vector<std::uint64_t> counts_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  return std::make_unique<Self>(host, !options.flag("web.disable-exporter-metrics"));
}

}  // namespace

extern const CollectorInfo collector_self;
const CollectorInfo collector_self{kMetrics, kFlags, make};

}  // namespace vitald
