// SPDX-License-Identifier: Apache-2.0
// Multipath devices and the states of their paths, from /sys/block.
#include <unistd.h>

#include <string>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_dmmultipath_device_active", gauge,
     "Whether the multipath device-mapper device is active (1) or suspended (0).", "device,sysfs_name", "",
     "/sys/block/dm-*"},
    {"node_dmmultipath_device_info", gauge, "Non-numeric information about a DM-multipath device.",
     "device,sysfs_name,uuid", "", "/sys/block/dm-*"},
    {"node_dmmultipath_device_paths", gauge, "Number of paths for a multipath device.", "device,sysfs_name", "",
     "/sys/block/dm-*"},
    {"node_dmmultipath_device_paths_active", gauge,
     "Number of paths in active state (SCSI running or NVMe live) for a multipath device.", "device,sysfs_name", "",
     "/sys/block/dm-*"},
    {"node_dmmultipath_device_paths_failed", gauge, "Number of paths not in active state for a multipath device.",
     "device,sysfs_name", "", "/sys/block/dm-*"},
    {"node_dmmultipath_device_size_bytes", gauge,
     "Size of the multipath device in bytes, read from /sys/block/<dm>/size.", "device,sysfs_name", "bytes",
     "/sys/block/dm-*"},
    {"node_dmmultipath_path_state", gauge,
     "Reports the underlying device state for a multipath path, as read from /sys/block/<dev>/device/state.",
     "device,path,state", "", "/sys/block/dm-*"},
};
enum Family { kActive, kInfo, kPaths, kPathsActive, kPathsFailed, kSize, kPathState };
constexpr double kSectorBytes = 512;

// A path's own device tells its state: SCSI "running", NVMe "live". Others (virtio, DASD) have none to tell.
struct Path {
  // block/dm-5/slaves/sdi stands for block/sdi.
  explicit Path(const std::string& path)
      : device(path.substr(0, path.rfind("/dm-")) + path.substr(path.rfind('/')) + "/device"),
        state(device + "/state") {}
  std::string device;
  Attribute state;
};
struct Device {
  explicit Device(const std::string& path)
      : uuid(path + "/dm/uuid"),
        name(path + "/dm/name"),
        suspended(path + "/dm/suspended"),
        size(path + "/size"),
        slaves(path + "/slaves") {}
  Attribute uuid, name, suspended, size;
  KernelItems<Path> slaves;
};

class Dmmultipath final : public Collector {
 public:
  explicit Dmmultipath(const Host& host) : devices_(host.sysfs("block"), "dm-") {}

  Result<> collect(BatchWriter& out) override {
    if (auto listed = devices_.refresh(); !listed) return absent_when_gone(listed.error());
    for (auto& [device, files] : devices_.items()) {
      uuid_ = files.uuid.text().value_or("");
      if (!uuid_.starts_with("mpath-")) continue;
      name_ = files.name.text().value_or("");
      emit(device, files, out);
    }
    return {};
  }

 private:
  void emit(std::string_view device, Device& files, BatchWriter& out) {
    out.set(kMetrics[kInfo], 1, name_, device, uuid_);
    if (const auto suspended = number_of(files.suspended, out))
      out.set(kMetrics[kActive], *suspended != 1, name_, device);
    if (const auto sectors = number_of(files.size, out))
      out.set(kMetrics[kSize], *sectors * kSectorBytes, name_, device);
    unsigned paths = 0, active = 0, failed = 0;
    // No folder: no paths.
    if (auto listed = files.slaves.refresh(); !listed && listed.error().kind != Errc::gone) {
      out.problem(listed.error());
      return;
    } else if (listed) {
      for (auto& [path, file] : files.slaves.items()) {
        const auto state = file.state.text().value_or("");
        ++paths;
        out.set(kMetrics[kPathState], 1, name_, path, state.empty() ? "unknown" : state);
        if (state == "running" || state == "live") {
          ++active;
        } else if (!state.empty()) {
          ++failed;
        } else if (const auto* why = file.state.unreadable()) {
          out.problem(*why);
        } else if (access(file.device.c_str(), F_OK) != 0) {
          // A path whose device went away stays among the slaves until multipathd takes it out: it has failed.
          ++failed;
          out.problem({Errc::gone, 0, file.state.path() + ": cannot be read"});
        }
      }
    }
    out.set(kMetrics[kPaths], paths, name_, device);
    out.set(kMetrics[kPathsActive], active, name_, device);
    out.set(kMetrics[kPathsFailed], failed, name_, device);
  }

  KernelItems<Device> devices_;
  std::string uuid_, name_;  // of the device at hand; kept for their memory
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  return std::make_unique<Dmmultipath>(host);
}

}  // namespace

extern const CollectorInfo collector_dmmultipath;
const CollectorInfo collector_dmmultipath{kMetrics, {}, make};

}  // namespace vitald
