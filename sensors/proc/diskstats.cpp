// SPDX-License-Identifier: Apache-2.0
// What block devices read, wrote and were busy with, from /proc/diskstats; names and kinds from udev.
#include <fmt/format.h>
#include <array>
#include <optional>
#include <string>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/file_stamp.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/left_out.h"
#include "sensors/read/name_filter.h"
#include "sensors/read/row_memo.h"

namespace vitald {
namespace {

constexpr std::string_view kSource = "/proc/diskstats", kUdev = "/run/udev/data";
// The numbers of a line first, in its order (Documentation/admin-guide/iostats.rst).
constexpr MetricDesc kMetrics[] = {
    {"node_disk_reads_completed_total", MetricType::counter, "The total number of reads completed successfully.",
     "device", "", kSource},
    {"node_disk_reads_merged_total", MetricType::counter, "The total number of reads merged.", "device", "", kSource},
    {"node_disk_read_bytes_total", MetricType::counter, "The total number of bytes read successfully.", "device",
     "bytes", kSource},
    {"node_disk_read_time_seconds_total", MetricType::counter, "The total number of seconds spent by all reads.",
     "device", "seconds", kSource},
    {"node_disk_writes_completed_total", MetricType::counter, "The total number of writes completed successfully.",
     "device", "", kSource},
    {"node_disk_writes_merged_total", MetricType::counter, "The number of writes merged.", "device", "", kSource},
    {"node_disk_written_bytes_total", MetricType::counter, "The total number of bytes written successfully.", "device",
     "bytes", kSource},
    {"node_disk_write_time_seconds_total", MetricType::counter,
     "This is the total number of seconds spent by all writes.", "device", "seconds", kSource},
    {"node_disk_io_now", MetricType::gauge, "The number of I/Os currently in progress.", "device", "", kSource},
    {"node_disk_io_time_seconds_total", MetricType::counter, "Total seconds spent doing I/Os.", "device", "seconds",
     kSource},
    {"node_disk_io_time_weighted_seconds_total", MetricType::counter, "The weighted # of seconds spent doing I/Os.",
     "device", "seconds", kSource},
    {"node_disk_discards_completed_total", MetricType::counter, "The total number of discards completed successfully.",
     "device", "", kSource},
    {"node_disk_discards_merged_total", MetricType::counter, "The total number of discards merged.", "device", "",
     kSource},
    {"node_disk_discarded_sectors_total", MetricType::counter, "The total number of sectors discarded successfully.",
     "device", "", kSource},
    {"node_disk_discard_time_seconds_total", MetricType::counter,
     "This is the total number of seconds spent by all discards.", "device", "seconds", kSource},
    {"node_disk_flush_requests_total", MetricType::counter, "The total number of flush requests completed successfully",
     "device", "", kSource},
    {"node_disk_flush_requests_time_seconds_total", MetricType::counter,
     "This is the total number of seconds spent by all flush requests.", "device", "seconds", kSource},
    {"node_disk_info", MetricType::gauge, "Info of /sys/block/<block_device>.",
     "device,major,minor,path,wwn,model,serial,revision,rotational", "", kUdev},
    {"node_disk_filesystem_info", MetricType::gauge, "Info about disk filesystem.", "device,type,usage,uuid,version",
     "", kUdev},
    {"node_disk_device_mapper_info", MetricType::gauge, "Info about disk device mapper.",
     "device,name,uuid,vg_name,lv_name,lv_layer", "", kUdev},
    {"node_disk_ata_write_cache", MetricType::gauge, "ATA disk has a write cache.", "device", "", kUdev},
    {"node_disk_ata_write_cache_enabled", MetricType::gauge, "ATA disk has its write cache enabled.", "device", "",
     kUdev},
    {"node_disk_ata_rotation_rate_rpm", MetricType::gauge, "ATA disk rotation rate in RPMs (0 for SSDs).", "device", "",
     kUdev},
};
constexpr std::size_t kColumns = 17;  // 11 before Linux 4.18, 15 before 5.5
constexpr std::size_t kLeastColumns = 11, kInFlight = 8;
constexpr std::size_t kPartitionColumns = 4;  // before 2.6.25: passed over
constexpr const MetricDesc& kInfo = row(kMetrics, "node_disk_info");
constexpr const MetricDesc& kFilesystem = row(kMetrics, "node_disk_filesystem_info");
constexpr const MetricDesc& kMapper = row(kMetrics, "node_disk_device_mapper_info");

// Sectors are 512 bytes whatever the disk says (Documentation/block/stat.rst), times are milliseconds.
constexpr double kSector = 512, kMillisecond = 1.0 / 1000.0;
constexpr double kScale[kColumns] = {
    1, 1, kSector, kMillisecond, 1, 1,           kSector, kMillisecond, 1, kMillisecond, kMillisecond,
    1, 1, 1,       kMillisecond, 1, kMillisecond};

constexpr std::string_view kInclude = "collector.diskstats.device-include",
                           kExclude = "collector.diskstats.device-exclude";
constexpr FlagSpec kFlags[] = {
    {kExclude, FlagType::pattern, "^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\\d+n\\d+p)\\d+$",
     "Regexp of diskstats devices to exclude (mutually exclusive to device-include).",
     "collector.diskstats.ignored-devices"},
    {kInclude, FlagType::pattern, "", "Regexp of diskstats devices to include (mutually exclusive to device-exclude)."},
};

// udev's properties that become labels or values.
enum Property : std::size_t {
  kPath,
  kWwn,
  kModel,
  kRevision,
  kScsiSerial,
  kSerialShort,
  kSerial,
  kFsType,
  kFsUsage,
  kFsUuid,
  kFsVersion,
  kDmName,
  kDmUuid,
  kDmVgName,
  kDmLvName,
  kDmLvLayer,
  kAta,
  kAtaWriteCache,
  kAtaWriteCacheEnabled,
  kAtaRotationRate,
  kProperties
};
constexpr std::string_view kPropertyNames[kProperties] = {"ID_PATH",
                                                          "ID_WWN",
                                                          "ID_MODEL",
                                                          "ID_REVISION",
                                                          "SCSI_IDENT_SERIAL",
                                                          "ID_SERIAL_SHORT",
                                                          "ID_SERIAL",
                                                          "ID_FS_TYPE",
                                                          "ID_FS_USAGE",
                                                          "ID_FS_UUID",
                                                          "ID_FS_VERSION",
                                                          "DM_NAME",
                                                          "DM_UUID",
                                                          "DM_VG_NAME",
                                                          "DM_LV_NAME",
                                                          "DM_LV_LAYER",
                                                          "ID_ATA",
                                                          "ID_ATA_WRITE_CACHE",
                                                          "ID_ATA_WRITE_CACHE_ENABLED",
                                                          "ID_ATA_ROTATION_RATE_RPM"};
struct AtaValue {
  Property property;
  const MetricDesc& desc;
};
constexpr AtaValue kAtaValues[] = {{kAtaWriteCache, row(kMetrics, "node_disk_ata_write_cache")},
                                   {kAtaWriteCacheEnabled, row(kMetrics, "node_disk_ata_write_cache_enabled")},
                                   {kAtaRotationRate, row(kMetrics, "node_disk_ata_rotation_rate_rpm")}};

struct Disk {
  bool ignored = false;
  std::string name, major, minor;
  std::array<std::string, kProperties> property;
  bool rotational = false;
  FileStamp udev;  // of its file there
};

class Diskstats final : public Collector {
 public:
  Diskstats(const Host& host, NameFilter filter)
      : host_(host), file_(host.procfs("diskstats"), KernelFile::Read::short_records), filter_(std::move(filter)) {}

  // "   8      16 sdb 678445 599 2432583 84 54507 9856 1029511 9157 0 76320 90670 65103 0 1652275765 10460"
  Result<> collect(BatchWriter& out) override {
    // udev replaces a device's file by renaming, so the folder's time tells of every change.
    bool udev_moved = udev_.changed(host_.roots().udev, host_.clock());
    // What it sets in sysfs (queue/rotational) nothing tells of.
    const auto now_ns = host_.clock().boot_ns();
    const bool old = now_ns - facts_read_ns_ > kRereadNs;
    if (old) facts_read_ns_ = now_ns;
    udev_moved = udev_moved || old;
    const auto text = file_.read();
    if (!text) return fail(text.error());
    disks_.start();
    LeftOut left_out;
    std::string_view rest = *text;
    std::string copy;  // made when a disk is new: its facts are read into the same buffer
    if (udev_moved) rest = copy = *text;
    while (!rest.empty()) {
      const auto before = rest;
      const auto line = take_line(rest);
      std::string_view numbers = line;
      auto* disk = disks_.match(numbers, ' ');
      if (!disk) {
        if (trim(line).empty()) continue;
        if (copy.empty()) {
          copy = before;
          rest = copy;
          continue;
        }
        auto found = disk_of(numbers);
        if (!found) {
          left_out.add(malformed(line));
          continue;
        }
        disk = disks_.insert(line.substr(0, line.size() - numbers.size()), std::move(*found));
      } else if (udev_moved && !disk->ignored && (old || disk->udev.changed(udev_file(*disk), host_.clock()))) {
        if (auto again = line; auto found = disk_of(again)) *disk = std::move(*found);
      }
      if (!disk->ignored && !emit(out, *disk, numbers)) left_out.add(malformed(line));
    }
    return left_out.outcome();
  }

 private:
  [[nodiscard]] std::string udev_file(const Disk& disk) const {
    return host_.udev("b" + disk.major + ":" + disk.minor);
  }
  // Takes "   8      16 sdb" off the front of `rest`.
  std::optional<Disk> disk_of(std::string_view& rest) const {
    const auto major = take_u64(rest);
    const auto minor = take_u64(rest);
    const auto name = take_word(rest);
    if (!major || !minor || name.empty()) return std::nullopt;
    Disk disk;
    disk.ignored = filter_.ignored(name);
    if (disk.ignored) return disk;
    disk.name = name;
    disk.major = std::to_string(*major);
    disk.minor = std::to_string(*minor);
    auto folder = disk.name;
    for (char& c : folder)
      if (c == '/') c = '!';  // "cciss/c0d0" is cciss!c0d0 in sysfs
    const auto rotational = read_kernel_file(host_.sysfs("block/" + folder + "/queue/rotational"));
    disk.rotational = rotational && trim(*rotational) == "1";  // no queue: not rotational, says node_exporter
    disk.udev.changed(udev_file(disk), host_.clock());         // before it is read: what changes now is seen next time
    if (disk.udev.there()) read_properties(disk);
    return disk;
  }
  // "E:ID_MODEL=EXAMPLE_DISK_1"
  void read_properties(Disk& disk) const {
    auto text = read_kernel_file(udev_file(disk));
    if (!text) return;  // udev knows nothing of this device
    while (!text->empty()) {
      auto line = take_line(*text);
      if (!take_prefix(line, "E:") || line.find('=') == std::string_view::npos) continue;
      const auto key = take_until(line, '=');
      for (std::size_t i = 0; i < kProperties; ++i)
        if (kPropertyNames[i] == key) disk.property[i] = line;
    }
  }

  static bool emit(BatchWriter& out, const Disk& disk, std::string_view numbers) {
    double values[kColumns];
    std::size_t count = 0;
    while (count < kColumns) {
      const auto n = take_u64(numbers);
      if (!n) break;
      values[count] = static_cast<double>(*n) * kScale[count];
      ++count;
    }
    const bool whole_word = numbers.empty() || is_space(numbers.front());
    if (!whole_word || (count < kColumns && !trim(numbers).empty())) return false;
    if (count < kLeastColumns) return count == kPartitionColumns;

    const auto& p = disk.property;
    // The serial printed on the disk's label, else what the bus said, else (virtio) the made-up one.
    const auto& serial = !p[kScsiSerial].empty()    ? p[kScsiSerial]
                         : !p[kSerialShort].empty() ? p[kSerialShort]
                                                    : p[kSerial];
    out.set(kInfo, 1, disk.name, disk.major, disk.minor, p[kPath], p[kWwn], p[kModel], serial, p[kRevision],
            disk.rotational ? "1" : "0");
    // In flight is a difference of counters of all CPUs, in 32 bits: below 0 while they are read one after the other.
    constexpr double kNegative = 2147483648;
    for (std::size_t i = 0; i < count; ++i)
      if (i != kInFlight || values[i] < kNegative) out.set(kMetrics[i], values[i], disk.name);
    if (!p[kFsType].empty()) out.set(kFilesystem, 1, disk.name, p[kFsType], p[kFsUsage], p[kFsUuid], p[kFsVersion]);
    if (!p[kDmName].empty())
      out.set(kMapper, 1, disk.name, p[kDmName], p[kDmUuid], p[kDmVgName], p[kDmLvName], p[kDmLvLayer]);
    if (p[kAta].empty()) return true;
    for (const auto& ata : kAtaValues) {
      const auto& text = p[ata.property];
      if (const auto value = parse_double(text)) out.set(ata.desc, *value, disk.name);
      else if (!text.empty())
        out.problem({Errc::malformed, 0,
                     fmt::format("udev's data of {}: {}: '{}': a number expected", disk.name,
                                 kPropertyNames[ata.property], text)});
    }
    return true;
  }
  [[nodiscard]] tl::unexpected<Error> malformed(std::string_view line) const {
    return fail(Errc::malformed,
                fmt::format("{}: '{}': 'major minor name' and 11 to 17 numbers expected", file_.path(), line));
  }

  const Host& host_;
  KernelFile file_;
  NameFilter filter_;
  RowMemo<Disk> disks_;
  static constexpr std::int64_t kRereadNs = 60'000'000'000;
  FileStamp udev_;
  std::int64_t facts_read_ns_ = 0;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto filter = NameFilter::exclusive(options, kExclude, kInclude);
  if (!filter) return fail(filter.error());
  return std::make_unique<Diskstats>(host, std::move(*filter));
}

}  // namespace

extern const CollectorInfo collector_diskstats;
const CollectorInfo collector_diskstats{kMetrics, kFlags, make};

}  // namespace vitald
