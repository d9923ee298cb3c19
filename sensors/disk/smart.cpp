// SPDX-License-Identifier: Apache-2.0
// How disks say that they are: NVMe's SMART log, ATA's SMART attributes, in smartctl_exporter's names. Each disk is
// asked rarely, with commands that it has; one that sleeps is left asleep and shows what it said last.
#include "sensors/disk/smart.h"

#include <fmt/format.h>
#include <linux/capability.h>

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/os/privileges.h"
#include "core/os/root_path.h"
#include "core/text/scan.h"
#include "sensors/read/power_state.h"

namespace vitald {
namespace disk {
namespace {

constexpr auto kGauge = MetricType::gauge, kCounter = MetricType::counter;
constexpr std::string_view kLog = "NVMe SMART log", kAta = "ATA SMART", kBoth = "NVMe SMART log, ATA SMART";
constexpr MetricDesc kMetrics[] = {
    {"smartctl_devices", kGauge, "Disks that can be asked for their health.", "", "", "/sys/class/nvme, /sys/block"},
    {"smartctl_device", kGauge, "What the disk is, 1.",
     "device,interface,protocol,model_family,model_name,serial_number,firmware_version", "", kBoth},
    {"smartctl_device_smart_status", kGauge, "1: the disk says of itself that it is well; 0: that it fails.", "device",
     "", kBoth},
    {"smartctl_device_temperature", kGauge, "Temperature in degrees Celsius.", "device,temperature_type", "", kBoth},
    {"smartctl_device_power_on_seconds", kCounter, "How long the disk has been on in its life.", "device", "seconds",
     kBoth},
    {"smartctl_device_power_cycle_count", kCounter, "How often it was switched on.", "device", "", kBoth},
    {"smartctl_device_available_spare", kGauge, "Spare blocks that are left, in percent.", "device", "", kLog},
    {"smartctl_device_available_spare_threshold", kGauge, "Below this many percent of spare the drive warns.", "device",
     "", kLog},
    {"smartctl_device_percentage_used", kGauge,
     "How much of its life the drive has used up by its maker's estimate, in percent; goes beyond 100.", "device", "",
     kLog},
    {"smartctl_device_critical_warning", kGauge,
     "Bits of what is wrong: 1 spare, 2 temperature, 4 reliability, 8 read-only, 16 its backup of volatile memory, 32 "
     "persistent memory.",
     "device", "", kLog},
    {"smartctl_device_media_errors", kCounter, "Times that data could not be read back as they were written.", "device",
     "", kLog},
    {"smartctl_device_num_err_log_entries", kCounter, "Entries in the drive's error log over its life.", "device", "",
     kLog},
    {"smartctl_device_bytes_read", kCounter, "Bytes that were read in its life, in units of 512,000.", "device",
     "bytes", kLog},
    {"smartctl_device_bytes_written", kCounter, "Bytes that were written in its life, in units of 512,000.", "device",
     "bytes", kLog},
    {"vitald_smart_unsafe_shutdowns_total", kCounter, "Times that power was gone without a warning.", "device", "",
     kLog},
    {"smartctl_device_rotation_rate", kGauge, "Turns a minute.", "device", "", "ATA IDENTIFY"},
    {"smartctl_device_attribute", kGauge,
     "Attributes of an ATA disk: value, worst and thresh are the maker's scale, on which the disk fails at thresh or "
     "below; raw is the maker's own number.",
     "device,attribute_name,attribute_flags_short,attribute_flags_long,attribute_value_type,attribute_id", "", kAta},
    {"vitald_smart_asleep", kGauge, "Whether the disk sleeps, and is not asked for that reason.", "device", "", kBoth},
    {"vitald_smart_age_seconds", kGauge, "How long ago the disk answered last.", "device", "seconds", "vitald"},
};
consteval const MetricDesc& family(std::string_view name) { return row(kMetrics, name); }

constexpr std::int64_t kSecond = 1'000'000'000, kLeastIntervalNs = 60 * kSecond;
// Of one run: many disks that do not answer must not cost the worker its deadline. The others come next time.
constexpr std::int64_t kBudgetNs = 2 * kSecond;
// What a disk cannot do it will not learn.
constexpr std::int64_t kAbsentAgainNs = 3600 * kSecond;

// A disk and what it said last.
struct Disk {
  std::string name;    // nvme0, sda
  std::string folder;  // in /sys
  std::string node;    // in /dev
  bool nvme = false;
  std::optional<PowerState> power;
  std::int64_t next_ns = 0, read_ns = 0;  // when it is asked again; when it was last, 0: never
  bool asleep = false;
  std::optional<Error> error;

  std::string serial;  // as /sys has it; of ATA disks the world wide name
  std::string model, firmware;
  std::optional<NvmeLog> log;
  std::optional<AtaIdentity> identity;
  std::vector<AtaAttribute> attributes;
  std::optional<bool> passed;
};

std::string text_of(const std::string& path) {
  const auto text = read_kernel_file(path);
  return text ? std::string(trim(*text)) : std::string();
}

class Smart final : public Collector {
 public:
  Smart(const Host& host, std::int64_t interval_ns, Open open)
      : host_(host), interval_ns_(std::max(interval_ns, kLeastIntervalNs)), open_(std::move(open)) {}

  Result<> collect(BatchWriter& out) override {
    const auto begin = host_.clock().boot_ns();
    if (look_ns_ == 0 || begin - look_ns_ >= kLeastIntervalNs) {
      look_ns_ = begin;
      look_for_disks();
    }
    for (auto& [name, disk] : disks_) {
      const auto now = host_.clock().boot_ns();
      if (now < disk.next_ns) continue;
      if (now - begin > kBudgetNs) break;
      ask(disk, now);
    }
    out.set(family("smartctl_devices"), static_cast<double>(disks_.size()));
    for (const auto& [name, disk] : disks_) emit(disk, host_.clock().boot_ns(), out);
    return {};
  }

  [[nodiscard]] std::string status() const override {
    const auto left = std::ranges::count_if(
        disks_, [](const auto& d) { return d.second.error && d.second.error->kind == Errc::absent; });
    return left == 0 ? fmt::format("{} disks", disks_.size())
                     : fmt::format("{} disks, of which {} cannot be asked", disks_.size(), left);
  }

  // Whether there is one at all.
  static bool any(const Host& host) {
    Smart probe(host, 0, nullptr);
    probe.look_for_disks();
    return !probe.disks_.empty();
  }

 private:
  void look_for_disks() {
    std::map<std::string, Disk> found;
    const auto add = [&](const std::string& name, const std::string& folder, bool nvme) {
      Disk disk;
      disk.name = name;
      disk.folder = folder;
      disk.node = path_below_root(host_.roots().root, "/dev/" + name);
      disk.nvme = nvme;
      disk.serial = text_of(folder + (nvme ? "/serial" : "/device/wwid"));
      // Another disk in the same place is another disk.
      if (const auto known = disks_.find(name);
          known != disks_.end() && known->second.nvme == nvme && known->second.serial == disk.serial) {
        found.insert(disks_.extract(known));
        return;
      }
      disk.power.emplace(folder + "/device");
      found.emplace(name, std::move(disk));
    };
    const auto controllers = host_.sysfs("class/nvme");
    if (const auto names = list_directory(controllers))
      for (const auto& name : *names) {
        const auto folder = controllers + "/" + name;
        // Discovery and administrative controllers have no such log. Kernels before 5.17 do not say what it is.
        if (const auto type = text_of(folder + "/cntrltype"); !type.empty() && type != "io") continue;
        if (const auto state = text_of(folder + "/state"); !state.empty() && state != "live") continue;
        add(name, folder, true);
      }
    const auto blocks = host_.sysfs("block");
    if (const auto names = list_directory(blocks))
      for (const auto& name : *names) {
        const auto folder = blocks + "/" + name;
        // libata calls itself so towards SCSI. What is behind a USB bridge or a RAID controller is not asked: what they
        // make of commands they do not know cannot be foreseen.
        if (name.starts_with("sd") && text_of(folder + "/device/vendor") == "ATA") add(name, folder, false);
      }
    disks_ = std::move(found);
  }

  void ask(Disk& disk, std::int64_t now) {
    disk.next_ns = now + interval_ns_;
    disk.error.reset();
    // Opening it would wake it.
    if (disk.power && disk.power->asleep()) {
      disk.asleep = true;
      return;
    }
    disk.asleep = false;
    auto door = open_(disk.node);
    const auto asked = door ? disk.nvme ? ask_nvme(disk, **door) : ask_ata(disk, **door) : fail(door.error());
    if (asked) {
      if (!disk.asleep) disk.read_ns = now;
      return;
    }
    disk.error = asked.error();
    // What it said before is no word of how it is now: one that fell silent must not go on to be well.
    disk.log.reset();
    disk.attributes.clear();
    disk.passed.reset();
    if (asked.error().kind == Errc::absent) disk.next_ns = now + kAbsentAgainNs;
  }

  static Result<> ask_nvme(Disk& disk, Door& door) {
    if (disk.model.empty()) {
      disk.model = text_of(disk.folder + "/model");
      disk.firmware = text_of(disk.folder + "/firmware_rev");
    }
    Sector log{};
    if (const auto read = door.nvme_log(log); !read) return read;
    disk.log = parse_nvme_log(log);
    if (!disk.log) return fail(Errc::malformed, fmt::format("{}: the SMART log is empty", disk.node));
    disk.passed = disk.log->critical_warning == 0;
    return {};
  }

  static Result<> ask_ata(Disk& disk, Door& door) {
    // First, and without spinning it up: does it stand still? Where nobody can say, the others might wake it.
    const auto mode = door.ata(AtaCommand::check_power_mode, nullptr);
    if (!mode) return fail(mode.error());
    if (!*mode) return fail(Errc::absent, fmt::format("{}: does not say whether it sleeps", disk.node));
    disk.asleep = stands_still(**mode);
    if (disk.asleep) return {};
    if (!disk.identity) {
      Sector data{};
      if (const auto read = door.ata(AtaCommand::identify, &data); !read) return fail(read.error());
      disk.identity = parse_identity(data);
      if (!disk.identity)
        return fail(Errc::malformed, fmt::format("{}: IDENTIFY DEVICE gives no ATA disk's data", disk.node));
      disk.model = disk.identity->model;
      disk.firmware = disk.identity->firmware;
    }
    if (!disk.identity->smart_supported || !disk.identity->smart_enabled) {
      const auto* why = disk.identity->smart_supported ? "SMART is switched off" : "the drive has no SMART";
      disk.identity.reset();  // it may be switched on
      return fail(Errc::absent, fmt::format("{}: {}", disk.node, why));
    }
    Sector data{}, thresholds{};
    if (const auto read = door.ata(AtaCommand::smart_data, &data); !read) return fail(read.error());
    const bool has_thresholds = door.ata(AtaCommand::smart_thresholds, &thresholds).has_value();
    auto attributes = parse_attributes(data, has_thresholds ? &thresholds : nullptr);
    if (!attributes) return fail(Errc::malformed, fmt::format("{}: SMART data with a wrong checksum", disk.node));
    disk.attributes = std::move(*attributes);
    const auto status = door.ata(AtaCommand::smart_status, nullptr);
    disk.passed = status && *status ? passed(**status) : std::nullopt;
    return {};
  }

  static void emit(const Disk& disk, std::int64_t now, BatchWriter& out) {
    if (disk.error) {
      auto error = *disk.error;
      // Of a drive that has no SMART there is nothing to mend.
      if (error.kind != Errc::absent) out.problem(std::move(error));
    }
    out.set(family("vitald_smart_asleep"), disk.asleep ? 1 : 0, disk.name);
    if (disk.read_ns == 0) return;
    const auto set = [&](const MetricDesc& desc, double value) { out.set(desc, value, disk.name); };
    set(family("vitald_smart_age_seconds"), static_cast<double>(now - disk.read_ns) / 1e9);
    const auto& serial = disk.nvme || !disk.identity ? disk.serial : disk.identity->serial;
    out.set(family("smartctl_device"), 1, disk.name, disk.nvme ? "nvme" : "sat", disk.nvme ? "NVMe" : "ATA", "unknown",
            disk.model.empty() ? std::string("unknown") : disk.model, serial, disk.firmware);
    if (disk.passed) set(family("smartctl_device_smart_status"), *disk.passed ? 1 : 0);
    const auto temperature = disk.log ? disk.log->celsius : celsius_of(disk.attributes);
    if (temperature) out.set(family("smartctl_device_temperature"), *temperature, disk.name, "current");
    if (disk.log) emit_nvme(*disk.log, set);
    else emit_ata(disk, set, out);
  }

  template <class Set>
  static void emit_nvme(const NvmeLog& log, Set&& set) {
    set(family("smartctl_device_power_on_seconds"), log.power_on_seconds);
    set(family("smartctl_device_power_cycle_count"), log.power_cycles);
    if (log.available_spare) set(family("smartctl_device_available_spare"), *log.available_spare);
    if (log.spare_threshold) set(family("smartctl_device_available_spare_threshold"), *log.spare_threshold);
    set(family("smartctl_device_percentage_used"), log.percentage_used);
    set(family("smartctl_device_critical_warning"), log.critical_warning);
    set(family("smartctl_device_media_errors"), log.media_errors);
    set(family("smartctl_device_num_err_log_entries"), log.error_log_entries);
    set(family("smartctl_device_bytes_read"), log.bytes_read);
    set(family("smartctl_device_bytes_written"), log.bytes_written);
    set(family("vitald_smart_unsafe_shutdowns_total"), log.unsafe_shutdowns);
  }

  template <class Set>
  static void emit_ata(const Disk& disk, Set&& set, BatchWriter& out) {
    if (disk.identity && disk.identity->rpm > 0) set(family("smartctl_device_rotation_rate"), disk.identity->rpm);
    static const AtaIdentity kNobody;
    const auto& identity = disk.identity ? *disk.identity : kNobody;
    for (const auto& a : disk.attributes) {
      // The upper bytes are something else: minutes, or what the maker likes. No disk is on for 2^24 hours.
      if (a.id == 9) set(family("smartctl_device_power_on_seconds"), static_cast<double>(a.raw & 0xffffff) * 3600);
      if (a.id == 12) set(family("smartctl_device_power_cycle_count"), static_cast<double>(a.raw & 0xffffffff));
      const auto short_flags = flags_short(a.flags), long_flags = flags_long(a.flags);
      const auto attribute = [&](std::string_view type, double value) {
        out.set(family("smartctl_device_attribute"), value, disk.name, attribute_name(a.id, identity), short_flags,
                long_flags, type, Decimal(a.id));
      };
      attribute("value", a.value);
      attribute("worst", a.worst);
      attribute("thresh", a.threshold);
      attribute("raw", static_cast<double>(a.raw));
    }
  }

  const Host& host_;
  const std::int64_t interval_ns_;
  const Open open_;
  std::int64_t look_ns_ = 0;
  std::map<std::string, Disk> disks_;
};

}  // namespace

std::unique_ptr<Collector> make_smart(const Host& host, std::int64_t interval_ns, Open open) {
  return std::make_unique<Smart>(host, interval_ns, std::move(open));
}

namespace {

constexpr FlagSpec kFlags[] = {
    {"collector.smart.interval", FlagType::duration, "5m",
     "smart: how often a disk is asked; a minute at least. Disks that sleep are not woken."},
};

// The disks are asked in the worker only, and only it has these capabilities in force. Without them none would answer.
Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (!Smart::any(host)) return fail(Errc::absent, "no NVMe controller and no ATA disk is there");
  if (!may_give_capability(CAP_SYS_ADMIN) && !may_give_capability(CAP_SYS_RAWIO))
    return fail(
        Errc::absent,
        "disks answer only to root: NVMe needs CAP_SYS_ADMIN, ATA CAP_SYS_RAWIO (AmbientCapabilities= in a drop-in "
        "of the unit; a vitald that was started with smart off has given them up: restart it)");
  return make_smart(host, options.duration_ns("collector.smart.interval"), open_door);
}

}  // namespace
}  // namespace disk

extern const CollectorInfo collector_smart;
const CollectorInfo collector_smart{disk::kMetrics, disk::kFlags, disk::make};

}  // namespace vitald
