// SPDX-License-Identifier: Apache-2.0
// What NFS mounts asked of their servers and how long it took, from /proc/self/mountstats.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
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
constexpr std::size_t kEventsBeforePnfs = 25;  // the first clients with statvers 1.0
constexpr std::size_t kCongestionWait = 18;    // always 0 since 2.6.27, not exported
static_assert(kEvents + kEventCount - 1 == std::size(kMetrics));
// Numbers of an "xprt: tcp" line (xs_tcp_print_stats, net/sunrpc/xprtsock.c) that are exported.
constexpr std::size_t kTransportColumns[] = {1, 2, 4, 5, 6, 7, 9, 10, 11, 12};
constexpr std::size_t kLeastNumbers = 10;  // of TCP; statvers 1.1 (Linux 3.5) has three more
static_assert(kTransport + std::size(kTransportColumns) == kOperation);
constexpr std::size_t kFirstMilliseconds = 5;  // of an operation's numbers: queue, response, request

// Times below zero wrap in the kernel; node_exporter keeps what a double holds exactly of such a number.
constexpr std::uint64_t kExact = std::uint64_t{1} << 53;

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

// The numbers of one line: `count` families from `family` on.
struct Part {
  std::size_t family = 0;
  std::string label;                         // of a transport or an operation
  std::size_t count = 0;                     // 0: the line was bad
  std::array<double, kEventCount> values{};  // NaN: of a mount that is gone, and not a counter
};

constexpr std::size_t kIdle = kTransport + 2, kSlots = kTransport + 7, kIdleColumn = 4;
static_assert(kTransportColumns[kIdle - kTransport] == kIdleColumn);
static_assert(kMetrics[kIdle].type == gauge && kMetrics[kSlots].type == gauge);

// Of what is not a counter: the oldest, the one that spoke last, the most slots.
double together(std::size_t family, double a, double b) {
  if (family == kIdle) return std::fmin(a, b);
  return family == kAge || family == kSlots ? std::fmax(a, b) : a + b;
}

// To the part of the same line. One that was bad has no sum.
void add(std::vector<Part>& sum, const Part& part) {
  const auto same =
      std::ranges::find_if(sum, [&](const Part& p) { return p.family == part.family && p.label == part.label; });
  if (same == sum.end()) {
    sum.push_back(part);
    return;
  }
  same->count = std::min(same->count, part.count);
  for (std::size_t i = 0; i < same->count; ++i)
    same->values[i] = together(part.family + i, same->values[i], part.values[i]);
}

// What one superblock counts. Those of one client and one version of the protocol talk over the same connections
// (nfs_match_client, fs/nfs/client.c): only the first of them has these.
struct Superblock {
  std::string id, version;  // "0:42", "4.2"
  bool has_transports = false;
  std::optional<double> age;
  std::vector<Part> parts;

  [[nodiscard]] bool lives_on_as(const Superblock& now) const {
    return now.id == id && (!age || !now.age || *now.age >= *age);
  }
};

// What is mounted once or several times. Mounts of one superblock share its counters; another superblock (ro beside
// rw, nosharecache) has its own, which are added.
struct Export {
  std::string device, protocol, address;
  std::vector<std::string_view> points;  // of this run
  std::vector<Superblock> superblocks;
  std::vector<Part> gone;  // counted by superblocks that are no more, while another one stays

  // The sum goes on without the counters of a superblock that went: less would look like a restart of all of them.
  void carry(Export& before) {
    const auto lives_on = [&](const Superblock& old) {
      return std::ranges::any_of(superblocks, [&](auto& now) { return old.lives_on_as(now); });
    };
    if (std::ranges::none_of(before.superblocks, lives_on)) return;  // mounted anew
    gone = std::move(before.gone);
    for (auto& old : before.superblocks) {
      if (lives_on(old)) continue;
      const bool same_version = std::ranges::any_of(superblocks, [&](auto& now) { return now.version == old.version; });
      for (auto& part : old.parts) {
        const bool transport = part.family == kTransport;
        if (part.count == 0 || part.family == kAge || (transport && same_version)) continue;
        for (std::size_t i = 0; i < part.count; ++i)
          if (part.family + i == kIdle || part.family + i == kSlots)
            part.values[i] = std::numeric_limits<double>::quiet_NaN();
        add(gone, part);
      }
    }
  }

  [[nodiscard]] std::vector<Part> sum() const {
    std::vector<Part> all;
    for (const auto& superblock : superblocks)
      if (all.empty()) all = superblock.parts;
      else
        for (const auto& part : superblock.parts) add(all, part);
    for (const auto& part : gone) add(all, part);
    return all;
  }
};

class Mountstats final : public Collector {
 public:
  explicit Mountstats(const Host& host)
      : stats_(host.procfs("self/mountstats"), KernelFile::Read::records),
        info_(host.procfs("self/mountinfo"), KernelFile::Read::records) {}

  // "device 10.0.0.1:/export/a mounted on /mnt/a with fstype nfs4 statvers=1.1", the lines of that
  // mount, and an empty line
  Result<> collect(BatchWriter& out) override {
    LeftOut left_out;
    left_out.add(read_mounts());  // without them the address is empty, as for a mount that came since
    const auto text = stats_.read();
    if (!text) return fail(text.error());
    if (is_blank(*text)) left_out.add(malformed(stats_.path(), "", "lines of mounts"));
    // Then superblocks cannot be told apart: numbers of that moment would be a reset to whoever adds them up.
    if (mounts_.empty() && std::ranges::any_of(exports_, [](const Export& e) { return !e.address.empty(); })) {
      left_out.add({Errc::io, 0, fmt::format("{}: none of the NFS mounts that it had", info_.path())});
      return left_out.outcome();
    }
    auto before = std::exchange(exports_, {});
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
      if (w[7] == "nfs" || w[7] == "nfs4") left_out.add(take_mount(w[1], w[4], w[8] == "statvers=1.0", rest));
    }
    for (auto& e : exports_) {
      for (auto& old : before)
        if (is(old, e.device, e.protocol, e.address)) e.carry(old);
      emit(e, out);
    }
    return left_out.outcome();
  }

 private:
  struct Mount {
    std::string superblock, device, point, address;
    bool taken = false;
  };

  // "158 21 0:42 / /mnt/a rw shared:138 - nfs4 10.0.0.1:/export/a rw,...,addr=10.0.0.1"
  // What is mounted where finds it again: a mount that came between the two reads moves all places behind it.
  Result<> read_mounts() {
    mounts_.clear();
    const auto text = info_.read();
    if (!text) return fail(text.error());
    for (std::string_view rest = *text; !rest.empty();) {
      const auto line = take_line(rest);
      const auto dash = line.find(" - nfs");
      if (dash == line.npos) continue;
      std::string_view before = line, options = line.substr(dash + 3);
      skip_words(before, 2);
      Mount found;
      found.superblock = take_word(before);
      skip_words(before, 1);
      found.point = take_word(before);
      take_word(options);
      found.device = take_word(options);
      found.address = option(trim(options), "addr=");
      mounts_.push_back(std::move(found));
    }
    return {};
  }
  // Several over each other come in the same order in both files.
  const Mount& mount_of(std::string_view device, std::string_view point) {
    static const Mount kUnknown{};
    const Mount* last = &kUnknown;
    for (auto& mount : mounts_) {
      if (mount.device != device || mount.point != point) continue;
      last = &mount;
      if (!std::exchange(mount.taken, true)) break;
    }
    return *last;
  }
  // The last value of "addr=" among "rw,vers=4.2,addr=10.0.0.1"; empty where there is none.
  static std::string_view option(std::string_view options, std::string_view name) {
    std::string_view value;
    while (!options.empty()) {
      auto text = take_until(options, ',');
      if (take_prefix(text, name)) value = text;
    }
    return value;
  }

  // The next line of a mount; empty at its end, also where the next mount begins without an empty line before it.
  static std::string_view next_line(std::string_view& rest) {
    if (rest.starts_with("device ")) return {};
    return trim(take_line(rest));
  }

  static bool is(const Export& e, std::string_view device, std::string_view protocol, std::string_view address) {
    return e.device == device && e.protocol == protocol && e.address == address;
  }
  Export& export_of(std::string_view device, std::string_view protocol, std::string_view address) {
    for (auto& e : exports_)
      if (is(e, device, protocol, address)) return e;
    return exports_.emplace_back(Export{std::string(device), std::string(protocol), std::string(address), {}, {}, {}});
  }

  // Consumes the mount's lines up to the empty one. `old`: they may lack what came last.
  Result<> take_mount(std::string_view device, std::string_view point, bool old, std::string_view& rest) {
    const std::string_view lines = rest;
    std::string_view protocol, version;
    for (auto line = next_line(rest); !line.empty(); line = next_line(rest)) {
      std::string_view words = line;
      const auto key = take_word(words);
      if (key == "opts:") version = option(trim(words), "vers=");
      if (key != "xprt:") continue;
      const auto name = take_word(words);
      if (protocol.empty()) protocol = name;
    }
    const auto& mount = mount_of(device, point);
    if (protocol.empty()) return {};  // one that was never used has no transport
    auto& e = export_of(device, protocol, mount.address);
    // Mounted again over itself it is one mount point.
    if (std::ranges::find(e.points, point) == e.points.end()) e.points.push_back(point);
    if (std::ranges::any_of(e.superblocks, [&](auto& s) { return s.id == mount.superblock; })) return {};
    const bool transports = std::ranges::none_of(e.superblocks, [&](auto& s) { return s.version == version; });
    e.superblocks.push_back({mount.superblock, std::string(version), transports, std::nullopt, {}});
    return read_lines(lines, old, e.superblocks.back());
  }

  Result<> read_lines(std::string_view rest, bool old, Superblock& into) {
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
      Part part;
      if (operations) {
        part.family = kOperation;
        part.label = key.substr(0, key.size() - 1);
        const auto count = take_numbers(words, n);
        if (count && *count >= kOperationCount) part.count = kOperationCount;
        else bad(line, "eight numbers");
        for (std::size_t i = 0; i < part.count; ++i)
          part.values[i] =
              i < kFirstMilliseconds ? static_cast<double>(n[i]) : static_cast<double>(n[i] % kExact) / 1000;
      } else if (key == "per-op") {
        operations = true;
        continue;
      } else if (key == "age:") {
        part.family = kAge;
        const auto seconds = take_u64(words);
        if (seconds) into.age = part.values[part.count++] = static_cast<double>(*seconds);
        else bad(line, "seconds");
      } else if (key == "bytes:") {
        part.family = kBytes;
        if (take_numbers(words, n) == kByteCount) part.count = kByteCount;
        else bad(line, "eight numbers");
        for (std::size_t i = 0; i < part.count; ++i) part.values[i] = static_cast<double>(n[i]);
      } else if (key == "events:") {
        part.family = kEvents;
        auto count = take_numbers(words, n).value_or(0);
        if (count != kEventCount && !(old && count == kEventsBeforePnfs)) {
          bad(line, "27 numbers");
          count = 0;
        }
        for (std::size_t i = 0; i < count; ++i)
          if (i != kCongestionWait) part.values[part.count++] = static_cast<double>(n[i]);
      } else if (key == "xprt:" && into.has_transports) {
        part.family = kTransport;
        part.label = Decimal(transport++);
        const auto name = take_word(words);
        const auto count = take_numbers(words, n);
        if (count && *count >= (name == "udp" ? kLeastNumbers - 3 : kLeastNumbers))
          part.count = take_transport(name, *count, n, part);
        else bad(line, "more numbers");
      } else {
        continue;
      }
      into.parts.push_back(std::move(part));
    }
    return left_out.outcome();
  }

  // UDP has no connection: its third number is tcp's sixth. RDMA has other ones from the eleventh on.
  static std::size_t take_transport(std::string_view name, std::size_t known, Numbers& n, Part& part) {
    if (name == "udp") {
      std::copy_backward(n.begin() + 2, n.end() - 3, n.end());
      std::fill_n(n.begin() + 2, 3, 0);
      known += 3;
    } else if (name == "rdma") {
      known = kLeastNumbers;
    }
    n[kIdleColumn] %= kExact;
    std::size_t count = 0;
    for (; count < std::size(kTransportColumns) && kTransportColumns[count] < known; ++count)
      part.values[count] = static_cast<double>(n[kTransportColumns[count]]);
    return count;
  }

  static void emit(const Export& e, BatchWriter& out) {
    for (const auto point : e.points) out.set(kMetrics[kInfo], 1, e.device, e.protocol, e.address, point);
    for (const auto& part : e.sum())
      for (std::size_t i = 0; i < part.count; ++i) {
        const auto& desc = kMetrics[part.family + i];
        const double v = part.values[i];
        if (v != v) continue;
        if (part.family == kTransport || part.family == kOperation)
          out.set(desc, v, e.device, e.protocol, e.address, part.label);
        else out.set(desc, v, e.device, e.protocol, e.address);
      }
  }

  KernelFile stats_, info_;
  std::vector<Mount> mounts_;
  std::vector<Export> exports_;  // of the last run: what it leaves is carried on
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Mountstats>(host); }

}  // namespace

extern const CollectorInfo collector_mountstats;
const CollectorInfo collector_mountstats{kMetrics, {}, make};

}  // namespace vitald
