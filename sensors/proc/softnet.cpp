// SPDX-License-Identifier: Apache-2.0
// Packets that each CPU took from its backlog, from /proc/net/softnet_stat.
#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/cpu_list.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_softnet_backlog_len", gauge, "Softnet backlog status", "cpu", "", "/proc/net/softnet_stat"},
    {"node_softnet_cpu_collision_total", counter,
     "Number of collision occur while obtaining device lock while transmitting", "cpu", "", "/proc/net/softnet_stat"},
    {"node_softnet_dropped_total", counter, "Number of dropped packets", "cpu", "", "/proc/net/softnet_stat"},
    {"node_softnet_flow_limit_count_total", counter, "Number of times flow limit has been reached", "cpu", "",
     "/proc/net/softnet_stat"},
    {"node_softnet_processed_total", counter, "Number of processed packets", "cpu", "", "/proc/net/softnet_stat"},
    {"node_softnet_received_rps_total", counter, "Number of times cpu woken up received_rps", "cpu", "",
     "/proc/net/softnet_stat"},
    {"node_softnet_times_squeezed_total", counter, "Number of times processing packets ran out of quota", "cpu", "",
     "/proc/net/softnet_stat"},
};
enum Family { kBacklog, kCollision, kDropped, kFlowLimit, kProcessed, kRps, kSqueezed };

// Hexadecimal columns; more were added over time (net/core/net-procfs.c softnet_seq_show).
struct Column {
  std::size_t at;
  Family family;
};
constexpr Column kColumns[] = {{0, kProcessed}, {1, kDropped},    {2, kSqueezed}, {8, kCollision},
                               {9, kRps},       {10, kFlowLimit}, {11, kBacklog}};
constexpr std::size_t kColumnsAtLeast = 9, kBacklogColumn = 11, kCpuColumn = 12, kColumnsMost = 13;

class Softnet final : public Collector {
 public:
  explicit Softnet(const Host& host)
      : online_(host, "online"), file_(host.procfs("net/softnet_stat"), KernelFile::Read::short_records) {}

  // "0005a1c3 00000000 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000"
  Result<> collect(BatchWriter& out) override {
    const auto online = online_.cpus();
    const auto text = file_.read();
    if (!text) return fail(text.error());
    if (is_blank(*text)) return malformed(file_.path(), "", "a line per CPU");
    LeftOut left_out;
    std::string_view rest = *text;
    for (std::uint32_t row = 0; !rest.empty(); ++row) {
      const auto line = take_line(rest);
      std::string_view words = line;
      std::uint32_t columns[kColumnsMost] = {};
      std::size_t count = 0;
      bool numbers = true;
      for (auto word = take_word(words); !word.empty() && count < kColumnsMost; word = take_word(words)) {
        const auto n = parse_int<std::uint32_t>(word, 16);
        numbers = numbers && n;
        columns[count++] = n.value_or(0);
      }
      if (!numbers || count < kColumnsAtLeast) {
        left_out.add(malformed(file_.path(), line, numbers ? "at least nine columns" : "hexadecimal numbers"));
        continue;
      }
      // The backlog and the CPU's number came together: twelve columns are no kernel's, and no backlog to
      // node_exporter.
      if (count <= kCpuColumn) columns[kBacklogColumn] = 0;
      // Since 5.14 the row names its CPU; before, rows of offline CPUs are simply missing (softnet_get_online).
      const std::uint64_t place = row < online.size() ? online[row] : row;
      const Decimal cpu(count > kCpuColumn ? columns[kCpuColumn] : place);
      for (const auto& column : kColumns)
        if (column.at < count || column.at == kBacklogColumn) out.set(kMetrics[column.family], columns[column.at], cpu);
    }
    return left_out.outcome();
  }

 private:
  CpuList online_;
  KernelFile file_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Softnet>(host); }

}  // namespace

extern const CollectorInfo collector_softnet;
const CollectorInfo collector_softnet{kMetrics, {}, make};

}  // namespace vitald
