// SPDX-License-Identifier: Apache-2.0
// What NFS mounts asked of their servers and how long it took, from /proc/self/mountstats.
#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_mountstats_nfs_mountpoint_info", gauge, "Info metric for an NFS mountpoint.",
     "export,protocol,mountaddr,mountpoint", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_age_seconds_total", counter, "The age of the NFS mount in seconds.",
     "export,protocol,mountaddr", "seconds", "/proc/self/mountstats"},
    {"node_mountstats_nfs_read_bytes_total", counter, "Number of bytes read using the read() syscall.",
     "export,protocol,mountaddr", "bytes", "/proc/self/mountstats"},
    {"node_mountstats_nfs_write_bytes_total", counter, "Number of bytes written using the write() syscall.",
     "export,protocol,mountaddr", "bytes", "/proc/self/mountstats"},
    {"node_mountstats_nfs_direct_read_bytes_total", counter,
     "Number of bytes read using the read() syscall in O_DIRECT mode.", "export,protocol,mountaddr", "bytes",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_direct_write_bytes_total", counter,
     "Number of bytes written using the write() syscall in O_DIRECT mode.", "export,protocol,mountaddr", "bytes",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_total_read_bytes_total", counter, "Number of bytes read from the NFS server, in total.",
     "export,protocol,mountaddr", "bytes", "/proc/self/mountstats"},
    {"node_mountstats_nfs_total_write_bytes_total", counter, "Number of bytes written to the NFS server, in total.",
     "export,protocol,mountaddr", "bytes", "/proc/self/mountstats"},
    {"node_mountstats_nfs_read_pages_total", counter, "Number of pages read directly via mmap()'d files.",
     "export,protocol,mountaddr", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_write_pages_total", counter, "Number of pages written directly via mmap()'d files.",
     "export,protocol,mountaddr", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_transport_bind_total", counter,
     "Number of times the client has had to establish a connection from scratch to the NFS server.",
     "export,protocol,mountaddr,transport", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_transport_connect_total", counter,
     "Number of times the client has made a TCP connection to the NFS server.", "export,protocol,mountaddr,transport",
     "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_transport_idle_time_seconds", gauge,
     "Duration since the NFS mount last saw any RPC traffic, in seconds.", "export,protocol,mountaddr,transport",
     "seconds", "/proc/self/mountstats"},
    {"node_mountstats_nfs_transport_sends_total", counter,
     "Number of RPC requests for this mount sent to the NFS server.", "export,protocol,mountaddr,transport", "",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_transport_receives_total", counter,
     "Number of RPC responses for this mount received from the NFS server.", "export,protocol,mountaddr,transport", "",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_transport_bad_transaction_ids_total", counter,
     "Number of times the NFS server sent a response with a transaction ID unknown to this client.",
     "export,protocol,mountaddr,transport", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_transport_backlog_queue_total", counter,
     "Total number of items added to the RPC backlog queue.", "export,protocol,mountaddr,transport", "",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_transport_maximum_rpc_slots", gauge,
     "Maximum number of simultaneously active RPC requests ever used.", "export,protocol,mountaddr,transport", "",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_transport_sending_queue_total", counter,
     "Total number of items added to the RPC transmission sending queue.", "export,protocol,mountaddr,transport", "",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_transport_pending_queue_total", counter,
     "Total number of items added to the RPC transmission pending queue.", "export,protocol,mountaddr,transport", "",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_operations_requests_total", counter, "Number of requests performed for a given operation.",
     "export,protocol,mountaddr,operation", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_operations_transmissions_total", counter,
     "Number of times an actual RPC request has been transmitted for a given operation.",
     "export,protocol,mountaddr,operation", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_operations_major_timeouts_total", counter,
     "Number of times a request has had a major timeout for a given operation.", "export,protocol,mountaddr,operation",
     "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_operations_sent_bytes_total", counter,
     "Number of bytes sent for a given operation, including RPC headers and payload.",
     "export,protocol,mountaddr,operation", "bytes", "/proc/self/mountstats"},
    {"node_mountstats_nfs_operations_received_bytes_total", counter,
     "Number of bytes received for a given operation, including RPC headers and payload.",
     "export,protocol,mountaddr,operation", "bytes", "/proc/self/mountstats"},
    {"node_mountstats_nfs_operations_queue_time_seconds_total", counter,
     "Duration all requests spent queued for transmission for a given operation before they were sent, in seconds.",
     "export,protocol,mountaddr,operation", "seconds", "/proc/self/mountstats"},
    {"node_mountstats_nfs_operations_response_time_seconds_total", counter,
     "Duration all requests took to get a reply back after a request for a given operation was transmitted, in "
     "seconds.",
     "export,protocol,mountaddr,operation", "seconds", "/proc/self/mountstats"},
    {"node_mountstats_nfs_operations_request_time_seconds_total", counter,
     "Duration all requests took from when a request was enqueued to when it was completely handled for a given "
     "operation, in seconds.",
     "export,protocol,mountaddr,operation", "seconds", "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_inode_revalidate_total", counter,
     "Number of times cached inode attributes are re-validated from the server.", "export,protocol,mountaddr", "",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_dnode_revalidate_total", counter,
     "Number of times cached dentry nodes are re-validated from the server.", "export,protocol,mountaddr", "",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_data_invalidate_total", counter, "Number of times an inode cache is cleared.",
     "export,protocol,mountaddr", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_attribute_invalidate_total", counter,
     "Number of times cached inode attributes are invalidated.", "export,protocol,mountaddr", "",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_vfs_open_total", counter, "Number of times cached inode attributes are invalidated.",
     "export,protocol,mountaddr", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_vfs_lookup_total", counter, "Number of times a directory lookup has occurred.",
     "export,protocol,mountaddr", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_vfs_access_total", counter, "Number of times permissions have been checked.",
     "export,protocol,mountaddr", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_vfs_update_page_total", counter, "Number of updates (and potential writes) to pages.",
     "export,protocol,mountaddr", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_vfs_read_page_total", counter, "Number of pages read directly via mmap()'d files.",
     "export,protocol,mountaddr", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_vfs_read_pages_total", counter, "Number of times a group of pages have been read.",
     "export,protocol,mountaddr", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_vfs_write_page_total", counter, "Number of pages written directly via mmap()'d files.",
     "export,protocol,mountaddr", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_vfs_write_pages_total", counter, "Number of times a group of pages have been written.",
     "export,protocol,mountaddr", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_vfs_getdents_total", counter,
     "Number of times directory entries have been read with getdents().", "export,protocol,mountaddr", "",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_vfs_setattr_total", counter,
     "Number of times directory entries have been read with getdents().", "export,protocol,mountaddr", "",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_vfs_flush_total", counter,
     "Number of pending writes that have been forcefully flushed to the server.", "export,protocol,mountaddr", "",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_vfs_fsync_total", counter,
     "Number of times fsync() has been called on directories and files.", "export,protocol,mountaddr", "",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_vfs_lock_total", counter, "Number of times locking has been attempted on a file.",
     "export,protocol,mountaddr", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_vfs_file_release_total", counter,
     "Number of times files have been closed and released.", "export,protocol,mountaddr", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_truncation_total", counter, "Number of times files have been truncated.",
     "export,protocol,mountaddr", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_write_extension_total", counter,
     "Number of times a file has been grown due to writes beyond its existing end.", "export,protocol,mountaddr", "",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_silly_rename_total", counter,
     "Number of times a file was removed while still open by another process.", "export,protocol,mountaddr", "",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_short_read_total", counter,
     "Number of times the NFS server gave less data than expected while reading.", "export,protocol,mountaddr", "",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_short_write_total", counter,
     "Number of times the NFS server wrote less data than expected while writing.", "export,protocol,mountaddr", "",
     "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_jukebox_delay_total", counter,
     "Number of times the NFS server indicated EJUKEBOX; retrieving data from offline storage.",
     "export,protocol,mountaddr", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_pnfs_read_total", counter, "Number of NFS v4.1+ pNFS reads.",
     "export,protocol,mountaddr", "", "/proc/self/mountstats"},
    {"node_mountstats_nfs_event_pnfs_write_total", counter, "Number of NFS v4.1+ pNFS writes.",
     "export,protocol,mountaddr", "", "/proc/self/mountstats"},
};

// Families by what they come from; within each in the order of the line's numbers.
constexpr std::size_t kInfo = 0, kAge = 1, kBytes = 2, kTransport = 10, kOperation = 20, kEvents = 28;
constexpr std::size_t kByteCount = 8, kOperationCount = 8, kEventCount = 27;
constexpr std::size_t kCongestionWait = 18;  // always 0 since 2.6.27, not exported
static_assert(kEvents + kEventCount - 1 == std::size(kMetrics));
// Numbers of an "xprt: tcp" line (xs_tcp_print_stats, net/sunrpc/xprtsock.c) that are exported.
constexpr std::size_t kTransportColumns[] = {1, 2, 4, 5, 6, 7, 9, 10, 11, 12};
constexpr std::size_t kLeastNumbers = 10;  // of TCP; statvers 1.1 (Linux 3.5) has three more
static_assert(kTransport + std::size(kTransportColumns) == kOperation);
constexpr std::size_t kFirstMilliseconds = 5;  // of an operation's numbers: queue, response, request

// Times below zero wrap in the kernel; node_exporter keeps what a double holds exactly of such a number.
constexpr std::uint64_t kExact = std::uint64_t{1} << 53;
constexpr std::size_t kIdleSeconds = 4;

using Numbers = std::array<std::uint64_t, kEventCount>;

// As many numbers as there are (at most 27) into `out`, the rest 0; nullopt when one of them is none.
std::optional<std::size_t> take_numbers(std::string_view words, Numbers& out) {
  out = {};
  std::size_t n = 0;
  for (auto word = take_word(words); !word.empty() && n < out.size(); word = take_word(words)) {
    const auto v = parse_u64(word);
    if (!v) return std::nullopt;
    out[n++] = *v;
  }
  return n;
}

class Mountstats final : public Collector {
 public:
  explicit Mountstats(const Host& host)
      : stats_(host.procfs("self/mountstats"), KernelFile::Read::records),
        info_(host.procfs("self/mountinfo"), KernelFile::Read::records) {}

  // "device 10.0.0.1:/export/a mounted on /mnt/a with fstype nfs4 statvers=1.1", the lines of that
  // mount, and an empty line
  Result<> collect(BatchWriter& out) override {
    LeftOut left_out;
    left_out.add(read_addresses());  // without them the label is empty, as for a mount that came since
    const auto text = stats_.read();
    if (!text) return fail(text.error());
    if (is_blank(*text)) left_out.add(malformed(stats_.path(), "", "lines of mounts"));
    seen_.clear();
    points_.clear();
    std::string_view rest = *text;
    while (!rest.empty()) {
      const auto line = take_line(rest);
      if (!line.starts_with("device ")) continue;
      std::string_view words = line;
      std::string_view w[9];
      for (auto& word : w) word = take_word(words);
      if (w[7].empty()) {
        left_out.add(malformed(stats_.path(), line, "'device D mounted on M with fstype T'"));
        continue;
      }
      if (w[7] != "nfs" && w[7] != "nfs4") continue;
      left_out.add(collect_mount({w[1], w[4], address_of(w[1], w[4])}, rest, out));
    }
    return left_out.outcome();
  }

 private:
  struct Mount {
    std::string_view device, point, address;
  };

  // "158 21 0:42 / /mnt/a rw shared:138 - nfs4 10.0.0.1:/export/a rw,...,addr=10.0.0.1"
  // What is mounted where finds it again: a mount that came between the two reads moves all places behind it.
  Result<> read_addresses() {
    addresses_.clear();
    const auto text = info_.read();
    if (!text) return fail(text.error());
    for (std::string_view rest = *text; !rest.empty();) {
      const auto line = take_line(rest);
      const auto dash = line.find(" - nfs");
      if (dash == line.npos) continue;
      std::string_view before = line, options = line.substr(dash + 3);
      skip_words(before, 4);
      take_word(options);
      Address found{std::string(take_word(options)), std::string(take_word(before)), {}};
      options = trim(options);
      while (!options.empty()) {
        auto option = take_until(options, ',');
        if (take_prefix(option, "addr=")) found.address = option;
      }
      addresses_.push_back(std::move(found));
    }
    return {};
  }
  [[nodiscard]] std::string_view address_of(std::string_view device, std::string_view point) const {
    for (const auto& a : addresses_)
      if (a.device == device && a.point == point) return a.address;
    return {};
  }

  // The next line of a mount; empty at its end, also where the next mount begins without an empty line before it.
  static std::string_view next_line(std::string_view& rest) {
    if (rest.starts_with("device ")) return {};
    return trim(take_line(rest));
  }

  static bool is_first(std::vector<std::string>& seen, std::string key) {
    if (std::ranges::find(seen, key) != seen.end()) return false;
    seen.push_back(std::move(key));
    return true;
  }

  // Consumes the mount's lines up to the empty one.
  Result<> collect_mount(const Mount& mount, std::string_view& rest, BatchWriter& out) {
    const std::string_view lines = rest;
    std::string_view protocol;
    for (auto line = next_line(rest); !line.empty(); line = next_line(rest)) {
      std::string_view words = line;
      if (take_word(words) != "xprt:") continue;
      const auto name = take_word(words);
      if (protocol.empty()) protocol = name;
    }
    // A mount that was never used has no transport. One server mounted twice counts once.
    if (protocol.empty()) return {};
    std::string key;
    key.append(mount.device).append("\n").append(protocol).append("\n").append(mount.address);
    // Mounted again over itself it is one mount point.
    if (is_first(points_, key + "\n" + std::string(mount.point)))
      out.set(kMetrics[kInfo], 1, mount.device, protocol, mount.address, mount.point);
    if (!is_first(seen_, std::move(key))) return {};
    return collect_lines(mount, protocol, lines, out);
  }

  Result<> collect_lines(const Mount& m, std::string_view protocol, std::string_view rest, BatchWriter& out) {
    Numbers n;
    LeftOut left_out;
    const auto bad = [&](std::string_view line, std::string_view expected) {
      left_out.add(malformed(stats_.path(), line, expected));
    };
    unsigned transport = 0;
    bool operations = false;
    for (auto line = next_line(rest); !line.empty(); line = next_line(rest)) {
      std::string_view words = line;
      const auto key = take_word(words);
      if (operations) {
        const auto count = take_numbers(words, n);
        if (!count || *count < kOperationCount) {
          bad(line, "eight numbers");
          continue;
        }
        for (std::size_t i = 0; i < kOperationCount; ++i) {
          const double v =
              i < kFirstMilliseconds ? static_cast<double>(n[i]) : static_cast<double>(n[i] % kExact) / 1000;
          out.set(kMetrics[kOperation + i], v, m.device, protocol, m.address, key.substr(0, key.size() - 1));
        }
      } else if (key == "per-op") {
        operations = true;
      } else if (key == "age:") {
        const auto seconds = take_u64(words);
        if (seconds) out.set(kMetrics[kAge], static_cast<double>(*seconds), m.device, protocol, m.address);
        else bad(line, "seconds");
      } else if (key == "bytes:") {
        if (take_numbers(words, n) != kByteCount) {
          bad(line, "eight numbers");
          continue;
        }
        for (std::size_t i = 0; i < kByteCount; ++i)
          out.set(kMetrics[kBytes + i], static_cast<double>(n[i]), m.device, protocol, m.address);
      } else if (key == "events:") {
        if (take_numbers(words, n) != kEventCount) {
          bad(line, "27 numbers");
          continue;
        }
        std::size_t family = kEvents;
        for (std::size_t i = 0; i < kEventCount; ++i)
          if (i != kCongestionWait)
            out.set(kMetrics[family++], static_cast<double>(n[i]), m.device, protocol, m.address);
      } else if (key == "xprt:") {
        const auto name = take_word(words);
        const auto count = take_numbers(words, n);
        ++transport;
        if (!count || *count < (name == "udp" ? kLeastNumbers - 3 : kLeastNumbers)) {
          bad(line, "more numbers");
          continue;
        }
        // UDP has no connection: its third number is tcp's sixth. RDMA has other ones from the eleventh on.
        std::size_t known = *count;
        if (name == "udp") {
          std::copy_backward(n.begin() + 2, n.end() - 3, n.end());
          std::fill_n(n.begin() + 2, 3, 0);
          known += 3;
        } else if (name == "rdma") {
          known = kLeastNumbers;
        }
        n[kIdleSeconds] %= kExact;
        for (std::size_t i = 0; i < std::size(kTransportColumns) && kTransportColumns[i] < known; ++i)
          out.set(kMetrics[kTransport + i], static_cast<double>(n[kTransportColumns[i]]), m.device, protocol, m.address,
                  Decimal(transport - 1));
      }
    }
    return left_out.outcome();
  }

  KernelFile stats_, info_;
  struct Address {
    std::string device, point, address;
  };
  std::vector<Address> addresses_;
  std::vector<std::string> seen_, points_;  // of this collection
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Mountstats>(host); }

}  // namespace

extern const CollectorInfo collector_mountstats;
const CollectorInfo collector_mountstats{kMetrics, {}, make};

}  // namespace vitald
