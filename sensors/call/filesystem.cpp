// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "core/text/utf8.h"
#include "sensors/read/helper_pool.h"
#include "sensors/read/name_filter.h"

namespace vitald {
namespace {

constexpr std::string_view kLabels = "device,mountpoint,fstype,device_error";
constexpr std::string_view kSource = "statfs(2) of /proc/1/mountinfo";
constexpr MetricDesc kMetrics[] = {
    {"node_filesystem_device_error", MetricType::gauge,
     "Whether an error occurred while getting statistics for the given device.", kLabels, "", kSource},
    {"node_filesystem_readonly", MetricType::gauge, "Filesystem read-only status.", kLabels, "", "/proc/1/mountinfo"},
    {"node_filesystem_size_bytes", MetricType::gauge, "Filesystem size in bytes.", kLabels, "bytes", kSource},
    {"node_filesystem_free_bytes", MetricType::gauge, "Filesystem free space in bytes.", kLabels, "bytes", kSource},
    {"node_filesystem_avail_bytes", MetricType::gauge, "Filesystem space available to non-root users in bytes.",
     kLabels, "bytes", kSource},
    {"node_filesystem_files", MetricType::gauge, "Filesystem total file nodes.", kLabels, "", kSource},
    {"node_filesystem_files_free", MetricType::gauge, "Filesystem total free file nodes.", kLabels, "", kSource},
    {"node_filesystem_mount_info", MetricType::gauge, "Filesystem mount information.", "device,major,minor,mountpoint",
     "", "/proc/1/mountinfo"},
    // Always 0 here; node_exporter prints it on Linux too.
    {"node_filesystem_purgeable_bytes", MetricType::gauge,
     "Filesystem space available including purgeable space (MacOS specific).", kLabels, "bytes", ""},
};
enum Metric { kDeviceError, kReadonly, kSize, kFree, kAvail, kFiles, kFilesFree, kMountInfo, kPurgeable };

constexpr FlagSpec kFlags[] = {
    {"collector.filesystem.mount-points-exclude", FlagType::pattern,
     "^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)",
     "Regexp of mount points to exclude for filesystem collector. (mutually exclusive to mount-points-include)",
     "collector.filesystem.ignored-mount-points"},
    {"collector.filesystem.mount-points-include", FlagType::pattern, "",
     "Regexp of mount points to include for filesystem collector. (mutually exclusive to mount-points-exclude)"},
    {"collector.filesystem.fs-types-exclude", FlagType::pattern,
     "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|"
     "proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$",
     "Regexp of filesystem types to exclude for filesystem collector. (mutually exclusive to fs-types-include)",
     "collector.filesystem.ignored-fs-types"},
    {"collector.filesystem.fs-types-include", FlagType::pattern, "",
     "Regexp of filesystem types to include for filesystem collector. (mutually exclusive to fs-types-exclude)"},
    {"collector.filesystem.mount-timeout", FlagType::duration, "5s",
     "how long to wait for a mount to respond before marking it as stale"},
    {"collector.filesystem.stat-workers", FlagType::number, "4",
     "how many threads to keep for mounts that can block; local file systems need none"},
};

// statfs of these answers from memory. Everything else (network, FUSE, cluster file systems, and what we do
// not know) may wait for somebody and is left to helpers.
constexpr std::string_view kLocalTypes[] = {
    "aufs",     "bcachefs", "binfmt_misc", "bpf",       "btrfs",    "cgroup",  "cgroup2", "configfs", "debugfs",
    "devpts",   "devtmpfs", "ecryptfs",    "efivarfs",  "erofs",    "exfat",   "ext2",    "ext3",     "ext4",
    "f2fs",     "hfs",      "hfsplus",     "hugetlbfs", "iso9660",  "jffs2",   "jfs",     "minix",    "mqueue",
    "msdos",    "nilfs2",   "nsfs",        "ntfs",      "ntfs3",    "overlay", "proc",    "pstore",   "ramfs",
    "reiserfs", "rootfs",   "securityfs",  "selinuxfs", "squashfs", "sysfs",   "tmpfs",   "tracefs",  "ubifs",
    "udf",      "ufs",      "vfat",        "xfs",       "zfs"};
static_assert(std::ranges::is_sorted(kLocalTypes));

// What one collection may wait for mounts that are slow to answer.
constexpr std::int64_t kWaitNs = 100'000'000;
// The oldest that a table may be of which the kernel announced no change.
constexpr std::int64_t kTableAgeNs = 5'000'000'000;
constexpr std::string_view kTimeout = "mountpoint timeout";

struct Usage {
  double size = 0, free = 0, avail = 0, files = 0, files_free = 0;
  bool readonly = false;
  std::string error;  // the label device_error; empty when the numbers are good
};

// As Go prints errno: glibc's text in lower case, but for the one that they word differently.
std::string error_text(int err) {
  if (err == ESTALE) return "stale NFS file handle";
  char buf[128];
  std::string text = strerror_r(err, buf, sizeof buf);
  if (text.size() > 1 && !std::isupper(static_cast<unsigned char>(text[1])))
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

void stat_mount(const char* path, Usage& out) {
  struct statfs st {};
  int rc;
  do rc = statfs(path, &st);
  while (rc != 0 && errno == EINTR);
  out.error.clear();
  if (rc != 0) {
    out.error = error_text(errno);
    return;
  }
  // node_exporter multiplies by f_bsize, not f_frsize; they differ on few file systems, and it is the judge.
  const auto block = static_cast<double>(st.f_bsize);
  out.size = static_cast<double>(st.f_blocks) * block;
  out.free = static_cast<double>(st.f_bfree) * block;
  out.avail = static_cast<double>(st.f_bavail) * block;
  out.files = static_cast<double>(st.f_files);
  out.files_free = static_cast<double>(st.f_ffree);
  out.readonly = (st.f_flags & ST_RDONLY) != 0;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

// The kernel writes blank, tab, newline and backslash as \040 \011 \012 \134 (mangle, fs/proc_namespace.c).
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](std::size_t n) { return text[i + n] >= '0' && text[i + n] <= '7'; };
    if (text[i] == '\\' && i + 3 < text.size() && digit(1) && digit(2) && digit(3)) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

bool has_option(std::string_view options, std::string_view wanted) {
  while (!options.empty())
    if (take_until(options, ',') == wanted) return true;
  return false;
}

bool is_below(std::string_view path, std::string_view directory) {
  return path.starts_with(directory) &&
         (directory == "/" || path.size() == directory.size() || path[directory.size()] == '/');
}

// A statfs that may hang. The helper writes `usage`; nobody else looks before the call is done.
struct Remote {
  std::string path;
  Usage usage;
};

struct Mount {
  std::string device, mountpoint, fstype, major, minor;  // as in the labels
  std::string path;
  bool readonly = false;           // by the table
  bool turned_readonly = false;    // since the table was read
  bool own_path = false;           // the path leads to this mount's superblock
  bool duplicate = false;          // the same labels came before
  std::size_t same_as = SIZE_MAX;  // index of a mount of the same superblock that stands for it
  std::optional<Usage> usage;      // the last known
  std::shared_ptr<Remote> remote;  // null: local
  HelperPool::CallPtr call;
  std::int64_t called_ns = 0;
};

class Filesystem final : public Collector {
 public:
  Filesystem(const Host& host, NameFilter points, NameFilter types, std::int64_t timeout_ns, std::size_t threads)
      : host_(host),
        points_(std::move(points)),
        types_(std::move(types)),
        timeout_ns_(timeout_ns),
        threads_(threads),
        init_mounts_(host.procfs("1/mountinfo"), KernelFile::Read::records),
        own_mounts_(host.procfs("self/mountinfo"), KernelFile::Read::records) {}

  Result<> collect(BatchWriter& out) override {
    if (auto read = read_mounts(); !read) return read;
    stat_all();
    for (const auto& mount : mounts_) emit(out, mount);
    return {};
  }

 private:
  // Making the table is a fifth of the kernel's work for all usual collectors, so it is read when the kernel
  // announced a change. What is not announced, a file system that turns read-only after an error, statfs
  // tells at once; ext4's own word for it since 6.15 (emergency_ro) stands only here, so it is read again
  // after a while in any case. It is parsed when it differs.
  Result<> read_mounts() {
    const auto now_ns = host_.clock().boot_ns();
    const bool quiet = mounts_file_ && mounts_file_->mounts_unchanged();
    if (quiet && now_ns - read_ns_ < kTableAgeNs) return {};
    mounts_file_ = &init_mounts_;
    auto text = init_mounts_.read();
    // hidepid hides process 1 from us.
    if (!text && (text.error().kind == Errc::gone || text.error().kind == Errc::denied)) {
      mounts_file_ = &own_mounts_;
      text = own_mounts_.read();
    }
    if (!text) return mounts_file_ = nullptr, fail(text.error());
    read_ns_ = now_ns;
    if (*text == table_) return {};
    if (auto parsed = parse(*text); !parsed) return mounts_file_ = nullptr, parsed;
    table_ = *text;
    return {};
  }

  // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
  // id parent major:minor root mountpoint options optional-fields... - type source super-options
  Result<> parse(std::string_view text) {
    std::vector<Mount> mounts;
    std::vector<std::string> can_block;  // mount points of all file systems that can, whether shown or not
    std::set<std::tuple<std::string, std::string, std::string>> seen;
    std::map<std::pair<std::string, std::string>, std::size_t> superblocks;  // (major:minor, root or empty)
    while (!text.empty()) {
      const auto line = take_line(text);
      auto rest = line;
      std::string_view before[6];
      for (auto& field : before) field = take_until(rest, ' ');
      while (!rest.empty() && !rest.starts_with("- ")) take_until(rest, ' ');
      auto number = before[2];
      const auto major = parse_int<unsigned>(take_until(number, ':')), minor = parse_int<unsigned>(number);
      if (!take_prefix(rest, "- ") || !major || !minor)
        return fail(Errc::malformed, fmt::format("mountinfo: '{}': 'id parent major:minor root mountpoint options ... "
                                                 "- type source options' expected",
                                                 line));
      const auto type = take_until(rest, ' '), source = take_until(rest, ' '), super = take_until(rest, ' ');

      Mount m;
      // Labels have only blanks and tabs decoded, the source nothing: as node_exporter.
      m.device = valid_utf8(source);
      m.fstype = valid_utf8(type);
      std::string point(before[4]);
      replace_all(point, "\\040", " ");
      replace_all(point, "\\011", "\t");
      m.mountpoint = valid_utf8(strip_root(point));
      // Below such a mount even the path of a local one leads through it. Parents come first in the table.
      const auto decoded = unescape(before[4]);
      const bool local = std::ranges::binary_search(kLocalTypes, type) &&
                         std::ranges::none_of(can_block, [&](const auto& above) { return is_below(decoded, above); });
      if (!local) can_block.push_back(decoded);
      if (points_.ignored(m.mountpoint) || types_.ignored(m.fstype)) continue;
      m.path = host_.rootfs(strip_root(decoded));
      m.major = std::to_string(*major);
      m.minor = std::to_string(*minor);
      m.readonly = has_option(before[5], "ro") || has_option(super, "ro") || has_option(super, "emergency_ro");
      m.duplicate = !seen.emplace(m.device, m.mountpoint, m.fstype).second;

      if (local) {
        // One statfs serves all bind mounts of a superblock, unless project quotas give directories sizes
        // of their own. The path must lead to that superblock: another mount may lie above it, and for a
        // stranger to this device number (btrfs subvolumes) there is only the path.
        const bool quotas = super.find("quota") != std::string_view::npos && !has_option(super, "noquota");
        struct stat st {};
        if (::stat(m.path.c_str(), &st) == 0 && st.st_dev == makedev(*major, *minor)) {
          const auto [it, first] = superblocks.try_emplace(
              {std::string(before[2]), quotas ? std::string(before[3]) : std::string()}, mounts.size());
          if (!first) m.same_as = it->second;
          m.own_path = true;
        }
      } else {
        adopt_remote(m);
      }
      mounts.push_back(std::move(m));
    }
    mounts_ = std::move(mounts);
    return {};
  }

  // A mount that was there before keeps its call in flight and its last numbers.
  void adopt_remote(Mount& m) {
    for (auto& old : mounts_) {
      if (!old.remote || old.path != m.path || old.device != m.device || old.fstype != m.fstype) continue;
      m.remote = std::move(old.remote);
      m.call = std::move(old.call);
      m.called_ns = old.called_ns;
      m.usage = std::move(old.usage);
      return;
    }
    m.remote = std::make_shared<Remote>();
    m.remote->path = m.path;
  }

  std::string strip_root(std::string_view point) const {
    const std::string_view root = host_.roots().root;
    if (root == "/") return std::string(point);
    take_prefix(point, root);
    return std::string(point.empty() ? "/" : point);
  }

  void stat_all() {
    const auto now = host_.clock().boot_ns();
    std::vector<HelperPool::CallPtr> calls;
    for (auto& m : mounts_) {
      settle(m);
      if (!m.remote || m.call) continue;
      if (!helpers_) helpers_.emplace(threads_);
      m.call = helpers_->submit([remote = m.remote] { stat_mount(remote->path.c_str(), remote->usage); });
      m.called_ns = now;
      calls.push_back(m.call);
    }
    for (auto& m : mounts_) {
      if (m.remote) continue;
      if (m.same_as != SIZE_MAX) {
        m.usage = mounts_[m.same_as].usage;
        m.turned_readonly = mounts_[m.same_as].turned_readonly;
      } else {
        if (!m.usage) m.usage.emplace();
        stat_mount(m.path.c_str(), *m.usage);
        m.turned_readonly = m.own_path && m.usage->error.empty() && m.usage->readonly && !m.readonly;
      }
    }
    if (!calls.empty()) helpers_->wait(calls, kWaitNs);
    for (auto& m : mounts_) {
      settle(m);
      if (!m.call || now - m.called_ns < timeout_ns_) continue;
      if (!m.usage) m.usage.emplace();
      m.usage->error = kTimeout;
    }
  }

  static void settle(Mount& m) {
    if (!m.call || !m.call->done()) return;
    m.usage = m.remote->usage;
    m.call.reset();
  }

  void emit(BatchWriter& out, const Mount& m) {
    if (!m.usage) return;  // asked for the first time and still waiting
    const auto& u = *m.usage;
    const auto set = [&](Metric metric, double value) {
      if (!m.duplicate) out.set(kMetrics[metric], value, m.device, m.mountpoint, m.fstype, u.error);
    };
    set(kDeviceError, u.error.empty() ? 0 : 1);
    set(kReadonly, m.readonly || m.turned_readonly ? 1 : 0);
    if (!u.error.empty()) return;
    set(kSize, u.size);
    set(kFree, u.free);
    set(kAvail, u.avail);
    set(kFiles, u.files);
    set(kFilesFree, u.files_free);
    out.set(kMetrics[kMountInfo], 1, m.device, m.major, m.minor, m.mountpoint);
    set(kPurgeable, 0);
  }

  const Host& host_;
  NameFilter points_, types_;
  std::int64_t timeout_ns_;
  std::size_t threads_;
  KernelFile init_mounts_, own_mounts_;
  KernelFile* mounts_file_ = nullptr;  // the one that gave the table; null: none did
  std::int64_t read_ns_ = 0;
  std::string table_;
  std::vector<Mount> mounts_;
  std::optional<HelperPool> helpers_;  // made with the first mount that can block
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto points = NameFilter::exclusive(options, "collector.filesystem.mount-points-exclude",
                                      "collector.filesystem.mount-points-include");
  if (!points) return fail(points.error());
  auto types =
      NameFilter::exclusive(options, "collector.filesystem.fs-types-exclude", "collector.filesystem.fs-types-include");
  if (!types) return fail(types.error());
  const auto threads = std::max<std::int64_t>(options.number("collector.filesystem.stat-workers"), 1);
  return std::make_unique<Filesystem>(host, std::move(*points), std::move(*types),
                                      options.duration_ns("collector.filesystem.mount-timeout"),
                                      static_cast<std::size_t>(threads));
}

}  // namespace

extern const CollectorInfo collector_filesystem;
const CollectorInfo collector_filesystem{kMetrics, kFlags, make};

}  // namespace vitald
