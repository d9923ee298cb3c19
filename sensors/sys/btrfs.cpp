// SPDX-License-Identifier: Apache-2.0
// Space and errors of btrfs file systems, from /sys/fs/btrfs and by ioctl(2) on those that are mounted.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/os/fd.h"
#include "core/os/kernel_file.h"
#include "core/os/root_path.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr std::string_view kSource = "/sys/fs/btrfs/*";
constexpr MetricDesc kMetrics[] = {
    {"node_btrfs_info", gauge, "Filesystem information", "uuid,label", "", kSource},
    {"node_btrfs_global_rsv_size_bytes", gauge, "Size of global reserve.", "uuid", "bytes", kSource},
    {"node_btrfs_commits_total", counter, "The total number of commits that have occurred.", "uuid", "", kSource},
    {"node_btrfs_last_commit_seconds", gauge, "Duration of the most recent commit, in seconds.", "uuid", "seconds",
     kSource},
    {"node_btrfs_max_commit_seconds", gauge, "Duration of the slowest commit, in seconds.", "uuid", "seconds", kSource},
    {"node_btrfs_commit_seconds_total", counter, "Sum of the duration of all commits, in seconds.", "uuid", "seconds",
     kSource},
    {"node_btrfs_reserved_bytes", gauge, "Amount of space reserved for a data type", "uuid,block_group_type", "bytes",
     kSource},
    {"node_btrfs_used_bytes", gauge, "Amount of used space by a layout/data type", "uuid,block_group_type,mode",
     "bytes", kSource},
    {"node_btrfs_size_bytes", gauge, "Amount of space allocated for a layout/data type", "uuid,block_group_type,mode",
     "bytes", kSource},
    {"node_btrfs_allocation_ratio", gauge, "Data allocation ratio for a layout/data type", "uuid,block_group_type,mode",
     "ratio", kSource},
    {"node_btrfs_device_size_bytes", gauge, "Size of a device that is part of the filesystem.", "uuid,device", "bytes",
     "BTRFS_IOC_DEV_INFO, or /sys/fs/btrfs/*/devices"},
    {"node_btrfs_device_unused_bytes", gauge, "Unused bytes unused on a device that is part of the filesystem.",
     "uuid,device,btrfs_dev_uuid", "bytes", "BTRFS_IOC_DEV_INFO"},
    {"node_btrfs_device_errors_total", counter, "Errors reported for the device", "uuid,type,device,btrfs_dev_uuid", "",
     "BTRFS_IOC_GET_DEV_STATS"},
};
enum Family {
  kInfo,
  kReserve,
  kCommits,
  kLastCommit,
  kMaxCommit,
  kCommitSeconds,
  kReserved,
  kUsed,
  kSize,
  kRatio,
  kDeviceSize,
  kDeviceUnused,
  kDeviceErrors
};
constexpr std::string_view kGroups[] = {"data", "metadata", "system"};
// In the order of enum btrfs_dev_stat_values.
constexpr std::string_view kErrors[] = {"write", "read", "flush", "corruption", "generation"};
constexpr double kSectorBytes = 512;

// How many bytes of disk a byte of this profile takes.
std::optional<double> ratio_of(std::string_view mode, double devices) {
  if (mode == "single" || mode == "raid0") return 1;
  if (mode == "dup" || mode == "raid1" || mode == "raid10") return 2;
  if (mode == "raid1c3") return 3;
  if (mode == "raid1c4") return 4;
  if (mode == "raid5" && devices > 1) return devices / (devices - 1);
  if (mode == "raid6" && devices > 2) return devices / (devices - 2);
  return std::nullopt;
}

// A profile's folder (allocation/data/raid1); its neighbours are plain files, which have neither.
struct Profile {
  explicit Profile(const std::string& path) : total(path + "/total_bytes"), used(path + "/used_bytes") {}
  Attribute total, used;
};
struct Group {
  explicit Group(const std::string& path) : reserved(path + "/bytes_reserved"), profiles(path) {}
  Attribute reserved;
  KernelItems<Profile> profiles;
};
struct Disk {
  explicit Disk(const std::string& path) : size(path + "/size") {}
  Attribute size;
};
// devinfo/4
struct DeviceId {
  explicit DeviceId(const std::string& path) : missing(path + "/missing") {}
  Attribute missing;
};
struct Filesystem {
  explicit Filesystem(const std::string& path)
      : label(path + "/label"),
        uuid(path + "/metadata_uuid"),
        reserve(path + "/allocation/global_rsv_size"),
        commits(path + "/commit_stats"),
        disks(path + "/devices"),
        ids(path + "/devinfo") {
    for (const auto g : kGroups) groups.emplace_back(path + "/allocation/" + std::string(g));
  }
  Attribute label, uuid, reserve;
  KernelFile commits;
  std::vector<Group> groups;
  KernelItems<Disk> disks;
  KernelItems<DeviceId> ids;  // since 5.6
};

// What only a mounted filesystem tells.
struct MountedDevice {
  std::string name, uuid;
  double size = 0, used = 0;
  std::optional<std::array<double, std::size(kErrors)>> errors;  // none of a device that is missing
};
struct Mounted {
  std::string uuid;
  std::vector<MountedDevice> devices;
};

std::string uuid_text(const __u8 (&b)[16]) {
  return fmt::format(
      "{:02x}{:02x}{:02x}{:02x}-{:02x}{:02x}-{:02x}{:02x}-{:02x}{:02x}-{:02x}{:02x}{:02x}{:02x}{:02x}{:02x}", b[0],
      b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

std::optional<Mounted> ask(const std::string& path) {
  // Never kept: an open folder would keep the filesystem from being unmounted.
  const Fd fd{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK)};
  btrfs_ioctl_fs_info_args info{};
  if (!fd || ::ioctl(fd.get(), BTRFS_IOC_FS_INFO, &info) != 0) return std::nullopt;
  Mounted mounted{uuid_text(info.fsid), {}};
  for (__u64 id = 0; id <= info.max_id && mounted.devices.size() < info.num_devices; ++id) {
    btrfs_ioctl_dev_info_args device{};
    device.devid = id;
    if (::ioctl(fd.get(), BTRFS_IOC_DEV_INFO, &device) != 0) {
      if (errno == ENODEV) continue;
      return std::nullopt;
    }
    btrfs_ioctl_get_dev_stats stats{};
    stats.devid = id;
    stats.nr_items = BTRFS_DEV_STAT_VALUES_MAX;
    const bool counted = ::ioctl(fd.get(), BTRFS_IOC_GET_DEV_STATS, &stats) == 0;
    const std::string_view file(reinterpret_cast<const char*>(device.path));
    MountedDevice d;
    d.name = file.substr(file.rfind('/') == file.npos ? 0 : file.rfind('/') + 1);
    d.uuid = uuid_text(device.uuid);
    d.size = static_cast<double>(device.total_bytes);
    d.used = static_cast<double>(device.bytes_used);
    if (counted) d.errors.emplace();
    for (std::size_t i = 0; counted && i < d.errors->size(); ++i) (*d.errors)[i] = static_cast<double>(stats.values[i]);
    mounted.devices.push_back(std::move(d));
  }
  return mounted;
}

// "\040" stands for a blank in mountinfo.
std::string unescape(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (text.size() >= 4 && text[0] == '\\') {
      if (const auto c = parse_int<unsigned char>(text.substr(1, 3), 8)) {
        out += static_cast<char>(*c);
        text.remove_prefix(4);
        continue;
      }
    }
    out += text.front();
    text.remove_prefix(1);
  }
  return out;
}

class Btrfs final : public Collector {
 public:
  explicit Btrfs(const Host& host)
      : host_(host),
        filesystems_(host.sysfs("fs/btrfs")),
        mounts_(host.procfs("1/mountinfo"), KernelFile::Read::records) {}

  // No btrfs here is no error: nothing is emitted.
  Result<> collect(BatchWriter& out) override {
    if (auto listed = filesystems_.refresh(); !listed && listed.error().kind != Errc::gone) return listed;
    LeftOut left_out;
    mounted_.clear();
    bool any = false;
    for (auto& [name, fs] : filesystems_.items()) {
      if (name.find('-') == name.npos) continue;  // "features"
      if (!any) ask_mounted();
      any = true;
      // The folder's name is the one in the superblock; metadata_uuid is one that was set later (btrfstune -m).
      uuid_ = fs.uuid.text().value_or("");
      if (uuid_.empty()) uuid_ = name;
      fsid_ = name;
      left_out.add(collect_filesystem(fs, out));
    }
    return left_out.outcome();
  }

 private:
  // "158 21 0:42 / /mnt/data rw,relatime shared:61 - btrfs /dev/sda1 rw,space_cache"
  void ask_mounted() {
    const auto text = mounts_.read();
    if (!text) return;  // not ours to read (hidepid): sysfs still has most
    struct Point {
      std::string source, path;
    };
    std::vector<Point> points;
    for (std::string_view rest = *text; !rest.empty();) {
      std::string_view line = take_line(rest);
      const auto dash = line.find(" - btrfs ");
      if (dash == line.npos) continue;
      std::string_view source = line.substr(dash + 9);
      source = take_word(source);
      for (int skipped = 0; skipped < 4; ++skipped) take_word(line);
      points.push_back({std::string(source), unescape(take_word(line))});
    }
    std::vector<std::string_view> answered;
    for (const auto& [source, path] : points) {
      // Subvolumes of the same one: the next is asked only where this one's mount is hidden from us.
      if (std::ranges::find(answered, source) != answered.end()) continue;
      auto mounted = ask(path_below_root(host_.roots().root, path));
      if (!mounted) continue;
      answered.push_back(source);
      mounted_.push_back(std::move(*mounted));
    }
  }

  Result<> collect_filesystem(Filesystem& fs, BatchWriter& out) {
    LeftOut left_out;
    if (auto listed = fs.disks.refresh(); !listed && listed.error().kind != Errc::gone) left_out.add(listed);
    if (auto listed = fs.ids.refresh(); !listed && listed.error().kind != Errc::gone) left_out.add(listed);
    out.set(kMetrics[kInfo], 1, uuid_, fs.label.text().value_or(""));
    if (const auto n = number_of(fs.reserve, out)) out.set(kMetrics[kReserve], *n, uuid_);
    left_out.add(collect_commits(fs, out));
    for (std::size_t i = 0; i < std::size(kGroups); ++i) collect_group(kGroups[i], fs, fs.groups[i], left_out, out);
    auto mounted = std::ranges::find(mounted_, fsid_, &Mounted::uuid);
    if (mounted == mounted_.end()) mounted = std::ranges::find(mounted_, uuid_, &Mounted::uuid);
    if (mounted != mounted_.end()) emit_devices(*mounted, out);
    else
      for (auto& [name, disk] : fs.disks.items()) {
        const Label labels[] = {{"uuid", uuid_}, {"device", name}};
        if (const auto sectors = number_of(disk.size, out))
          out.set_labels(kMetrics[kDeviceSize], *sectors * kSectorBytes, labels);
      }
    return left_out.outcome();
  }

  // "commits 410477", "last_commit_ms 1000", "max_commit_ms 34241", "total_commit_ms 90877660"; since 6.0
  Result<> collect_commits(Filesystem& fs, BatchWriter& out) {
    constexpr std::string_view kKeys[] = {"commits", "last_commit_ms", "max_commit_ms", "total_commit_ms"};
    std::array<std::optional<double>, std::size(kKeys)> values;
    LeftOut left_out;
    const auto text = fs.commits.read();
    if (!text && text.error().kind == Errc::gone) values.fill(0);  // so node_exporter has it before 6.0
    if (!text && text.error().kind != Errc::gone) return fail(text.error());
    if (text && is_blank(*text)) return malformed(fs.commits.path(), "", "a name and a number");
    for (std::string_view rest = text ? *text : std::string_view(); !rest.empty();) {
      const auto line = take_line(rest);
      std::string_view words = line;
      const auto key = take_word(words);
      const auto n = take_u64(words);
      if (!n) {
        left_out.add(malformed(fs.commits.path(), line, "a name and a number"));
        continue;
      }
      for (std::size_t i = 0; i < std::size(kKeys); ++i)
        if (kKeys[i] == key) values[i] = static_cast<double>(*n);
    }
    for (std::size_t i = 0; i < values.size(); ++i)
      if (values[i]) out.set(kMetrics[kCommits + i], i == 0 ? *values[i] : *values[i] / 1000, uuid_);
    return left_out.outcome();
  }

  // Of a degraded file system a disk that is missing has no link among its devices, and is one of those it is spread
  // on.
  static std::size_t all_disks(Filesystem& fs) {
    auto n = fs.disks.items().size();
    for (auto& [id, device] : fs.ids.items())
      if (device.missing.text() == "1") ++n;
    return n;
  }

  void collect_group(std::string_view type, Filesystem& fs, Group& group, LeftOut& left_out, BatchWriter& out) {
    if (const auto n = number_of(group.reserved, out)) out.set(kMetrics[kReserved], *n, uuid_, type);
    if (auto listed = group.profiles.refresh(); !listed) {
      if (listed.error().kind != Errc::gone) left_out.add(listed);
      return;
    }
    for (auto& [mode, profile] : group.profiles.items()) {
      const auto total = number_of(profile.total, out), used = number_of(profile.used, out);
      if (!total || !used) continue;
      out.set(kMetrics[kUsed], *used, uuid_, type, mode);
      out.set(kMetrics[kSize], *total, uuid_, type, mode);
      if (const auto ratio = ratio_of(mode, static_cast<double>(all_disks(fs))))
        out.set(kMetrics[kRatio], *ratio, uuid_, type, mode);
    }
  }

  void emit_devices(const Mounted& mounted, BatchWriter& out) {
    for (const auto& d : mounted.devices) {
      const Label labels[] = {{"uuid", uuid_}, {"device", d.name}, {"btrfs_dev_uuid", d.uuid}};
      out.set_labels(kMetrics[kDeviceSize], d.size, labels);
      out.set(kMetrics[kDeviceUnused], d.size - d.used, uuid_, d.name, d.uuid);
      for (std::size_t i = 0; d.errors && i < d.errors->size(); ++i)
        out.set(kMetrics[kDeviceErrors], (*d.errors)[i], uuid_, kErrors[i], d.name, d.uuid);
    }
  }

  const Host& host_;
  KernelItems<Filesystem> filesystems_;
  KernelFile mounts_;
  std::vector<Mounted> mounted_;
  std::string uuid_, fsid_;  // of the filesystem at hand; kept for their memory
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Btrfs>(host); }

}  // namespace

extern const CollectorInfo collector_btrfs;
const CollectorInfo collector_btrfs{kMetrics, {}, make};

}  // namespace vitald
