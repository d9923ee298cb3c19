// SPDX-License-Identifier: Apache-2.0
// Forks, context switches, interrupts and the boot time, from /proc/stat.
#include <fmt/format.h>

#include <optional>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"
#include "sensors/read/shared_file.h"

namespace vitald {
namespace {

constexpr std::string_view kSource = "/proc/stat";
constexpr MetricDesc kMetrics[] = {
    {"node_intr_total", MetricType::counter, "Total number of interrupts serviced.", "", "", kSource},
    {"node_context_switches_total", MetricType::counter, "Total number of context switches.", "", "", kSource},
    {"node_forks_total", MetricType::counter, "Total number of forks.", "", "", kSource},
    {"node_boot_time_seconds", MetricType::gauge, "Node boot time, in unixtime.", "", "seconds", kSource},
    {"node_procs_running", MetricType::gauge, "Number of processes in runnable state.", "", "", kSource},
    {"node_procs_blocked", MetricType::gauge, "Number of processes blocked waiting for I/O to complete.", "", "",
     kSource},
    {"node_softirqs_total", MetricType::counter, "Number of softirq calls.", "vector", "", kSource},
};
constexpr const MetricDesc& kSoftirqs = row(kMetrics, "node_softirqs_total");

struct Row {
  std::string_view key;
  const MetricDesc& desc;
};
constexpr Row kRows[] = {
    {"intr", row(kMetrics, "node_intr_total")},
    {"ctxt", row(kMetrics, "node_context_switches_total")},
    {"processes", row(kMetrics, "node_forks_total")},
    {"btime", row(kMetrics, "node_boot_time_seconds")},
    {"procs_running", row(kMetrics, "node_procs_running")},
    {"procs_blocked", row(kMetrics, "node_procs_blocked")},
};
// In the kernel's order (softirq_to_name, kernel/softirq.c), with node_exporter's words.
constexpr std::string_view kVectors[] = {"hi",           "timer",   "net_tx", "net_rx",  "block",
                                         "block_iopoll", "tasklet", "sched",  "hrtimer", "rcu"};

constexpr FlagSpec kFlags[] = {
    {"collector.stat.softirq", FlagType::boolean, "false", "Export softirq calls per vector"},
};

class Stat final : public Collector {
 public:
  Stat(const Host& host, const Options& options)
      : file_(host, host.procfs("stat")), softirq_(options.flag("collector.stat.softirq")) {}

  // "ctxt 11972819"
  Result<> collect(BatchWriter& out) override {
    auto text = file_.read();
    if (!text) return fail(text.error());
    if (is_blank(*text)) return vitald::malformed(file_.path(), "", "lines of counters");
    LeftOut left_out;
    while (!text->empty()) {
      std::string_view rest = take_line(*text);
      const auto key = take_word(rest);
      if (key == "softirq") {
        if (softirq_ && !softirqs(out, rest)) left_out.add(malformed(key, rest, "a total and numbers"));
        continue;
      }
      for (const auto& row : kRows) {
        if (row.key != key) continue;
        if (const auto n = number(key, rest)) out.set(row.desc, static_cast<double>(*n));
        else left_out.add(malformed(key, rest, "a number"));
        break;
      }
    }
    return left_out.outcome();
  }

 private:
  // Some kernels write the forks as a number of 32 bits with a sign: "processes -2049562273" is 2245405023.
  static std::optional<std::uint64_t> number(std::string_view key, std::string_view rest) {
    if (const auto n = take_u64(rest)) return n;
    const auto below_zero = key == "processes" ? parse_int<std::int32_t>(trim(rest)) : std::nullopt;
    return below_zero ? std::optional<std::uint64_t>(static_cast<std::uint32_t>(*below_zero)) : std::nullopt;
  }
  // " 6844605 353453 1773541 1285 684051 172855 0 1190218 658324 11123 534947": the sum, then per vector
  static bool softirqs(BatchWriter& out, std::string_view rest) {
    if (!take_u64(rest)) return false;
    for (const auto vector : kVectors) {
      if (trim(rest).empty()) return true;  // before 2.6.31 there were fewer
      const auto n = take_u64(rest);
      if (!n) return false;
      out.set(kSoftirqs, static_cast<double>(*n), vector);
    }
    return true;
  }
  [[nodiscard]] tl::unexpected<Error> malformed(std::string_view key, std::string_view rest,
                                                std::string_view expected) const {
    return fail(Errc::malformed, fmt::format("{}: '{} {}': {} expected", file_.path(), key, trim(rest), expected));
  }

  SharedFile file_;
  bool softirq_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  return std::make_unique<Stat>(host, options);
}

}  // namespace

extern const CollectorInfo collector_stat;
const CollectorInfo collector_stat{kMetrics, kFlags, make};

}  // namespace vitald
