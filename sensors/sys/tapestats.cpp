// SPDX-License-Identifier: Apache-2.0
// What tape drives read and wrote, from /sys/class/scsi_tape.
#include <string>

#include "core/collector.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/name_filter.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr AttributeRow kRows[] = {
    {"in_flight",
     {"node_tape_io_now", gauge, "The number of I/Os currently outstanding to this device.", "device", "",
      "/sys/class/scsi_tape/*/stats/in_flight"}},
    {"io_ns",
     {"node_tape_io_time_seconds_total", counter,
      "The amount of time spent waiting for all I/O to complete (including read and write). This includes tape "
      "movement commands such as seeking between file or set marks and implicit tape movement such as when rewind on "
      "close tape devices are used.",
      "device", "seconds", "/sys/class/scsi_tape/*/stats/io_ns"},
     1e-9},
    {"other_cnt",
     {"node_tape_io_others_total", counter,
      "The number of I/Os issued to the tape drive other than read or write commands. The time taken to complete these "
      "commands uses the following calculation io_time_seconds_total-read_time_seconds_total-write_time_seconds_total",
      "device", "", "/sys/class/scsi_tape/*/stats/other_cnt"}},
    {"read_byte_cnt",
     {"node_tape_read_bytes_total", counter, "The number of bytes read from the tape drive.", "device", "bytes",
      "/sys/class/scsi_tape/*/stats/read_byte_cnt"}},
    {"read_cnt",
     {"node_tape_reads_completed_total", counter, "The number of read requests issued to the tape drive.", "device", "",
      "/sys/class/scsi_tape/*/stats/read_cnt"}},
    {"read_ns",
     {"node_tape_read_time_seconds_total", counter, "The amount of time spent waiting for read requests to complete.",
      "device", "seconds", "/sys/class/scsi_tape/*/stats/read_ns"},
     1e-9},
    {"resid_cnt",
     {"node_tape_residual_total", counter,
      "The number of times during a read or write we found the residual amount to be non-zero. This should mean that a "
      "program is issuing a read larger thean the block size on tape. For write not all data made it to tape.",
      "device", "", "/sys/class/scsi_tape/*/stats/resid_cnt"}},
    {"write_byte_cnt",
     {"node_tape_written_bytes_total", counter, "The number of bytes written to the tape drive.", "device", "bytes",
      "/sys/class/scsi_tape/*/stats/write_byte_cnt"}},
    {"write_cnt",
     {"node_tape_writes_completed_total", counter, "The number of write requests issued to the tape drive.", "device",
      "", "/sys/class/scsi_tape/*/stats/write_cnt"}},
    {"write_ns",
     {"node_tape_write_time_seconds_total", counter, "The amount of time spent waiting for write requests to complete.",
      "device", "seconds", "/sys/class/scsi_tape/*/stats/write_ns"},
     1e-9},
};
constexpr auto kMetrics = families_of(kRows);
constexpr FlagSpec kFlags[] = {
    {"collector.tapestats.ignored-devices", FlagType::pattern, "^$", "Regexp of devices to ignore for tapestats."},
};

struct Tape {
  explicit Tape(const std::string& path) : stats(path + "/stats", kRows) {}
  AttributeTable stats;
};

class Tapestats final : public Collector {
 public:
  Tapestats(const Host& host, NameFilter filter) : filter_(std::move(filter)), tapes_(host.sysfs("class/scsi_tape")) {}

  Result<> collect(BatchWriter& out) override {
    if (auto listed = tapes_.refresh(); !listed) return absent_when_gone(listed.error());
    for (auto& [name, tape] : tapes_.items()) {
      // Every drive is there eight times (nst0, st0a, st0l, ...) with the same numbers: st0 alone.
      std::string_view rest = name;
      if (!take_prefix(rest, "st") || !parse_u64(rest) || filter_.ignored(name)) continue;
      tape.stats.emit(out, name);
    }
    return {};
  }

 private:
  NameFilter filter_;
  KernelItems<Tape> tapes_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto filter = NameFilter::make(options.text("collector.tapestats.ignored-devices"), "");
  if (!filter) return fail(filter.error());
  return std::make_unique<Tapestats>(host, std::move(*filter));
}

}  // namespace

extern const CollectorInfo collector_tapestats;
const CollectorInfo collector_tapestats{kMetrics, kFlags, make};

}  // namespace vitald
