// SPDX-License-Identifier: Apache-2.0
// Replicated disks of DRBD 8, from /proc/drbd.
#include <string>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

struct Number {
  std::string_view key;
  MetricDesc desc;
  double factor;
};
constexpr Number kNumbers[] = {
    {"ns",
     {"node_drbd_network_sent_bytes_total", counter, "Total number of bytes sent via the network.", "device", "bytes",
      "/proc/drbd"},
     1024},
    {"nr",
     {"node_drbd_network_received_bytes_total", counter, "Total number of bytes received via the network.", "device",
      "bytes", "/proc/drbd"},
     1},
    {"dw",
     {"node_drbd_disk_written_bytes_total", counter, "Net data written on local hard disk; in bytes.", "device",
      "bytes", "/proc/drbd"},
     1024},
    {"dr",
     {"node_drbd_disk_read_bytes_total", counter, "Net data read from local hard disk; in bytes.", "device", "bytes",
      "/proc/drbd"},
     1024},
    {"al",
     {"node_drbd_activitylog_writes_total", counter, "Number of updates of the activity log area of the meta data.",
      "device", "", "/proc/drbd"},
     1},
    {"bm",
     {"node_drbd_bitmap_writes_total", counter, "Number of updates of the bitmap area of the meta data.", "device", "",
      "/proc/drbd"},
     1},
    {"lo",
     {"node_drbd_local_pending", gauge, "Number of open requests to the local I/O sub-system.", "device", "",
      "/proc/drbd"},
     1},
    {"pe",
     {"node_drbd_remote_pending", gauge,
      "Number of requests sent to the peer, but that have not yet been answered by the latter.", "device", "",
      "/proc/drbd"},
     1},
    {"ua",
     {"node_drbd_remote_unacknowledged", gauge,
      "Number of requests received by the peer via the network connection, but that have not yet been answered.",
      "device", "", "/proc/drbd"},
     1},
    {"ap",
     {"node_drbd_application_pending", gauge,
      "Number of block I/O requests forwarded to DRBD, but not yet answered by DRBD.", "device", "", "/proc/drbd"},
     1},
    {"ep", {"node_drbd_epochs", gauge, "Number of Epochs currently on the fly.", "device", "", "/proc/drbd"}, 1},
    {"oos",
     {"node_drbd_out_of_sync_bytes", gauge, "Amount of data known to be out of sync; in bytes.", "device", "bytes",
      "/proc/drbd"},
     1024},
};
// "local/remote"
struct Pair {
  std::string_view key;
  MetricDesc desc;
  std::string_view good;
};
constexpr Pair kPairs[] = {
    {"ro",
     {"node_drbd_node_role_is_primary", gauge, "Whether the role of the node is in the primary state.", "device,node",
      "", "/proc/drbd"},
     "Primary"},
    {"ds",
     {"node_drbd_disk_state_is_up_to_date", gauge, "Whether the disk of the node is up to date.", "device,node", "",
      "/proc/drbd"},
     "UpToDate"},
};
constexpr MetricDesc kMetrics[] = {
    {"node_drbd_connected", gauge, "Whether DRBD is connected to the peer.", "device", "", "/proc/drbd"},
};
constexpr const MetricDesc& kConnected = row(kMetrics, "node_drbd_connected");
constexpr auto kFamilies = families_of(kMetrics, kNumbers, kPairs);

class Drbd final : public Collector {
 public:
  explicit Drbd(const Host& host) : file_(host.procfs("drbd"), KernelFile::Read::records) {}

  // " 2: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----"
  // "    ns:12819223 nr:14547125 dw:68723473 dr:131963130 al:1100 bm:935 lo:19684 ..."
  Result<> collect(BatchWriter& out) override {
    const auto text = file_.read();
    if (!text) return absent_when_gone(text.error());
    if (is_blank(*text)) return malformed(file_.path(), "", "a line 'version: ...'");
    device_ = "unknown";
    LeftOut left_out;
    std::string_view rest = *text;
    while (!rest.empty()) {
      const auto line = take_line(rest);
      std::string_view words = line;
      // A device begins here, whatever it is called: what follows is not the one's before.
      if (line.find(" cs:") != line.npos) {
        auto number = take_word(words);
        if (number.ends_with(':')) number.remove_suffix(1);
        if (parse_u64(number)) {
          device_.assign("drbd").append(number);
        } else {
          device_.clear();
          left_out.add(malformed(file_.path(), line, "'number: cs:state'"));
        }
      }
      if (!device_.empty()) collect_line(words, left_out, out);
    }
    return left_out.outcome();
  }

 private:
  void collect_line(std::string_view words, LeftOut& left_out, BatchWriter& out) {
    for (auto word = take_word(words); !word.empty(); word = take_word(words)) {
      if (word.find(':') == word.npos || word.find(':') != word.rfind(':')) continue;
      std::string_view value = word;
      const auto key = take_until(value, ':');
      if (value.empty() && parse_u64(key)) device_.assign("drbd").append(key);
      else if (key == "cs") out.set(kConnected, value == "Connected", device_);
      else if (!emit(key, value, out)) left_out.add(malformed(file_.path(), word, "a number"));
    }
  }
  // False: it should have been a number.
  bool emit(std::string_view key, std::string_view value, BatchWriter& out) {
    for (const auto& number : kNumbers) {
      if (number.key != key) continue;
      const auto n = parse_double(value);
      if (n) out.set(number.desc, *n * number.factor, device_);
      return n.has_value();
    }
    for (const auto& pair : kPairs) {
      if (pair.key != key) continue;
      out.set(pair.desc, take_until(value, '/') == pair.good, device_, "local");
      out.set(pair.desc, value == pair.good, device_, "remote");
    }
    return true;  // keys that say nothing about numbers
  }

  KernelFile file_;
  std::string device_;  // at hand; empty: one whose number cannot be read
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Drbd>(host); }

}  // namespace

extern const CollectorInfo collector_drbd;
const CollectorInfo collector_drbd{kFamilies, {}, make};

}  // namespace vitald
