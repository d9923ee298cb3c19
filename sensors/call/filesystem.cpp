// SPDX-License-Identifier: Apache-2.0
// Sizes of mounted file systems by statfs(2), with a deadline for those that may hang; mounts from mountinfo.
#include <fcntl.h>
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
#include "core/os/mount_watch.h"
#include "core/os/root_path.h"
#include "core/text/scan.h"
#include "core/text/utf8.h"
#include "sensors/read/helper_pool.h"
#include "sensors/read/left_out.h"
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
    {.name = "collector.filesystem.mount-timeout",
     .type = FlagType::duration,
     .fallback = "5s",
     .help = "how long to wait for a mount to respond before marking it as stale",
     .least = 1'000'000},
    {.name = "collector.filesystem.stat-workers",
     .type = FlagType::number,
     .fallback = "4",
     .help = "how many threads to keep for mounts that can block; local file systems need none; 0 is 1",
     .least = 0,
     .most = 1024},
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
constexpr std::string_view kTimeout = "mountpoint timeout", kHidden = "another file system is mounted there",
                           kNoMemory = "out of memory";

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

// A line of mountinfo:
// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
// id parent major:minor root mountpoint options optional-fields... - type source super-options
struct TableLine {
  std::uint64_t id = 0, parent = 0;
  unsigned major = 0, minor = 0;
  std::string_view number, root, point, options, type, source, super;
};

std::optional<TableLine> parse_line(std::string_view line) {
  TableLine out;
  const auto id = parse_u64(take_until(line, ' ')), parent = parse_u64(take_until(line, ' '));
  out.number = take_until(line, ' ');
  out.root = take_until(line, ' ');
  out.point = take_until(line, ' ');
  out.options = take_until(line, ' ');
  while (!line.empty() && !line.starts_with("- ")) take_until(line, ' ');
  auto number = out.number;
  const auto major = parse_int<unsigned>(take_until(number, ':')), minor = parse_int<unsigned>(number);
  if (!take_prefix(line, "- ") || !id || !parent || !major || !minor) return std::nullopt;
  out.id = *id, out.parent = *parent, out.major = *major, out.minor = *minor;
  out.type = take_until(line, ' ');
  out.source = take_until(line, ' ');
  out.super = take_until(line, ' ');
  return out;
}

// The mounts of this process' own namespace by their ids: the superblock, and whether it sees it read-only.
struct OwnMount {
  dev_t superblock = 0;
  bool readonly = false;
};
using OwnMounts = std::map<std::uint64_t, OwnMount>;

// Where a path leads. Through the mount's id, which Linux tells since 5.8: the device number of a file is not always
// its superblock's (btrfs subvolumes). Before, nullopt where that is so, and where the path cannot be looked up.
std::optional<OwnMount> mount_at(const std::string& path, std::string_view fstype, const OwnMounts& own) {
  struct statx st {};
  if (statx(AT_FDCWD, path.c_str(), AT_STATX_DONT_SYNC, STATX_MNT_ID, &st) != 0) return std::nullopt;
  if ((st.stx_mask & STATX_MNT_ID) != 0)
    if (const auto found = own.find(st.stx_mnt_id); found != own.end()) return found->second;
  if (fstype == "btrfs" || fstype == "bcachefs" || fstype == "overlay") return std::nullopt;
  return OwnMount{makedev(st.stx_dev_major, st.stx_dev_minor), true};
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
  // statvfs(3): the counts are in units of f_frsize; 0 means f_bsize. node_exporter takes f_bsize always, which makes a
  // FUSE or network file system with a large preferred block that many times larger; df is the judge.
  const auto block = static_cast<double>(st.f_frsize > 0 ? st.f_frsize : st.f_bsize);
  out.size = static_cast<double>(st.f_blocks) * block;
  out.free = static_cast<double>(st.f_bfree) * block;
  // Below zero where root has taken of what is kept for it (NFS servers, ZFS): df says so too, and no disk is that
  // full.
  out.avail = static_cast<double>(static_cast<std::int64_t>(st.f_bavail)) * block;
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

// A statfs that may hang, as may finding out where the path leads. The helper writes `usage`; nobody else looks before
// the call is done.
struct Remote {
  std::string path, fstype;
  dev_t superblock = 0;
  Usage usage;

  void look(const OwnMounts& own) {
    const auto there = mount_at(path, fstype, own);
    if (there && there->superblock != superblock) usage.error = kHidden;
    else stat_mount(path.c_str(), usage);
  }
};

struct Mount {
  std::string device, mountpoint, fstype, major, minor;  // as in the labels
  std::string path;
  bool readonly = false;           // by the table
  bool turned_readonly = false;    // since the table was read
  bool covered = false;            // another mount lies on its root
  bool hidden = false;             // the path leads to another mount's superblock
  bool shows_readonly = false;     // statfs tells when the superblock turns read-only: our own mount of it is not
  std::size_t labels = 0;          // which of the different (device, mount point, type)
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
        own_mounts_(host.procfs("self/mountinfo"), KernelFile::Read::records),
        here_("/proc/self/mountinfo", KernelFile::Read::records) {}

  Result<> collect(BatchWriter& out) override {
    if (auto read = read_mounts(); !read) return read;
    stat_all();
    choose_speakers();
    for (const auto& mount : mounts_)
      if (&mount == speakers_[mount.labels]) emit(out, mount);
    return left_out_.outcome();
  }

 private:
  // Making the table is a fifth of the kernel's work for all usual collectors, so it is read when the kernel
  // announced a change. What is not announced, a file system that turns read-only after an error, statfs
  // tells at once; ext4's own word for it since 6.15 (emergency_ro) stands only here, so it is read again
  // after a while in any case. It is parsed when it differs.
  Result<> read_mounts() {
    const auto now_ns = host_.clock().boot_ns();
    const bool moved = here_changed_.changed("/proc");
    const bool quiet = mounts_file_ && mounts_file_->mounts_unchanged() && !moved;
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
    if (*text == table_ && !text->empty() && !moved) return {};
    if (trim(*text).empty())
      return mounts_file_ = nullptr, fail(Errc::malformed, "mountinfo: empty, at least '/' expected");
    table_ = *text;
    read_own_mounts();
    parse(table_);
    return {};
  }

  // Of this process' own namespace, where paths lead, whatever table is shown.
  void read_own_mounts() {
    auto own = std::make_shared<OwnMounts>();
    if (const auto text = here_.read()) {
      for (std::string_view rest = *text; !rest.empty();)
        if (const auto line = parse_line(take_line(rest)))
          (*own)[line->id] = {makedev(line->major, line->minor), has_option(line->options, "ro")};
    }
    own_ = std::move(own);
  }

  // The table is in no order that says what lies above what: a mount may be moved, or set beneath another.
  void parse(std::string_view text) {
    left_out_ = {};
    std::vector<TableLine> lines;
    std::vector<std::string> can_block;  // mount points of all file systems that can, whether shown or not
    std::set<std::pair<std::uint64_t, std::string_view>> on;  // what lies on which mount, and where
    while (!text.empty()) {
      const auto line = take_line(text);
      if (const auto parsed = parse_line(line)) {
        lines.push_back(*parsed);
        on.emplace(parsed->parent, parsed->point);
        if (!std::ranges::binary_search(kLocalTypes, parsed->type)) can_block.push_back(unescape(parsed->point));
      } else {
        left_out_.add(Error{Errc::malformed, 0,
                            fmt::format("mountinfo: '{}': 'id parent major:minor root mountpoint options ... "
                                        "- type source options' expected",
                                        line)});
      }
    }
    std::vector<Mount> mounts;
    std::map<std::tuple<std::string, std::string, std::string>, std::size_t> labels;
    std::map<std::pair<std::string, std::string>, std::size_t> superblocks;  // (major:minor, root or empty)
    for (const auto& line : lines) {
      Mount m;
      // Labels have only blanks and tabs decoded, the source nothing: as node_exporter.
      m.device = valid_utf8(line.source);
      m.fstype = valid_utf8(line.type);
      std::string point(line.point);
      replace_all(point, "\\040", " ");
      replace_all(point, "\\011", "\t");
      m.mountpoint = valid_utf8(path_on_host(host_.roots().root, point));
      // At and below such a mount the path of a local one leads through it, too.
      const auto decoded = unescape(line.point);
      const bool local = std::ranges::none_of(can_block, [&](const auto& above) { return is_below(decoded, above); });
      if (points_.ignored(m.mountpoint) || types_.ignored(m.fstype)) continue;
      m.path = host_.rootfs(path_on_host(host_.roots().root, decoded));
      m.major = std::to_string(line.major);
      m.minor = std::to_string(line.minor);
      m.readonly =
          has_option(line.options, "ro") || has_option(line.super, "ro") || has_option(line.super, "emergency_ro");
      m.covered = on.contains({line.id, line.point});
      m.labels = labels.try_emplace({m.device, m.mountpoint, m.fstype}, labels.size()).first->second;

      if (local) {
        // One statfs serves all bind mounts of a superblock, unless project quotas give directories sizes
        // of their own. The path must lead to that superblock: another mount may lie above it, for everybody or only
        // for us (ProtectHome= of a unit, a container that has not got the mount). The numbers of that one are not
        // this one's.
        const bool quotas = line.super.find("quota") != std::string_view::npos && !has_option(line.super, "noquota");
        if (const auto there = mount_at(m.path, line.type, *own_)) {
          m.hidden = there->superblock != makedev(line.major, line.minor);
          m.shows_readonly = !m.hidden && !there->readonly;
          const auto key = std::pair(std::string(line.number), quotas ? std::string(line.root) : std::string());
          if (!m.hidden) {
            const auto [it, first] = superblocks.try_emplace(key, mounts.size());
            if (!first) m.same_as = it->second;
          }
        }
      } else {
        adopt_remote(m, makedev(line.major, line.minor));
      }
      mounts.push_back(std::move(m));
    }
    mounts_ = std::move(mounts);
    speakers_.assign(labels.size(), nullptr);
  }

  // A mount that was there before keeps its call in flight and its last numbers.
  void adopt_remote(Mount& m, dev_t superblock) {
    for (auto& old : mounts_) {
      if (!old.remote || old.path != m.path || old.device != m.device || old.fstype != m.fstype ||
          old.remote->superblock != superblock)
        continue;
      m.remote = std::move(old.remote);
      m.call = std::move(old.call);
      m.called_ns = old.called_ns;
      m.usage = std::move(old.usage);
      return;
    }
    m.remote = std::make_shared<Remote>();
    m.remote->path = m.path;
    m.remote->fstype = m.fstype;
    m.remote->superblock = superblock;
  }

  void stat_all() {
    const auto now = host_.clock().boot_ns();
    std::vector<HelperPool::CallPtr> calls;
    for (auto& m : mounts_) {
      settle(m);
      if (!m.remote || m.call) continue;
      if (!helpers_) helpers_.emplace(threads_);
      m.call = helpers_->submit([remote = m.remote, own = own_] { remote->look(*own); });
      m.called_ns = now;
      calls.push_back(m.call);
    }
    for (auto& m : mounts_) {
      if (m.remote) continue;
      if (m.same_as != SIZE_MAX) {
        m.usage = mounts_[m.same_as].usage;
        m.turned_readonly = mounts_[m.same_as].turned_readonly;
        continue;
      }
      if (!m.usage) m.usage.emplace();
      if (m.hidden) m.usage->error = kHidden;
      else stat_mount(m.path.c_str(), *m.usage);
      // What statfs says of our own mount may be true of that one alone (ProtectSystem=strict, a read-only /host).
      m.turned_readonly = m.shows_readonly && m.usage->error.empty() && m.usage->readonly && !m.readonly;
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
    if (m.call->failed()) m.usage->error = kNoMemory;
    m.call.reset();
  }

  // Of mounts with the same labels (a second tmpfs over /run, FUSE mounted again over its dead one) the one that paths
  // lead to has them: of those of the superblock that is seen there the one that nothing lies on, else the last.
  void choose_speakers() {
    std::ranges::fill(speakers_, nullptr);
    for (const auto& m : mounts_) {
      auto& speaker = speakers_[m.labels];
      if (!speaker || order(m) <= order(*speaker)) speaker = &m;
    }
  }
  static std::pair<bool, bool> order(const Mount& m) { return {is_hidden(m), m.covered}; }
  static bool is_hidden(const Mount& m) { return m.usage && m.usage->error == kHidden; }

  void emit(BatchWriter& out, const Mount& m) {
    if (!m.usage) return;  // asked for the first time and still waiting
    const auto& u = *m.usage;
    const auto set = [&](Metric metric, double value) {
      out.set(kMetrics[metric], value, m.device, m.mountpoint, m.fstype, u.error);
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
  KernelFile init_mounts_, own_mounts_, here_;
  MountsSince here_changed_;
  std::shared_ptr<const OwnMounts> own_ = std::make_shared<OwnMounts>();
  LeftOut left_out_;                   // of the table
  KernelFile* mounts_file_ = nullptr;  // the one that gave the table; null: none did
  std::int64_t read_ns_ = 0;
  std::string table_;
  std::vector<Mount> mounts_;
  std::vector<const Mount*> speakers_;  // by Mount::labels
  std::optional<HelperPool> helpers_;   // made with the first mount that can block
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
