// SPDX-License-Identifier: Apache-2.0
// The commands that are sent to disks, all of which only read, and none of which a disk has to be able to do more for
// than the specification asks of every one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/result.h"
#include "sensors/disk/smart_log.h"

namespace vitald::disk {

enum class AtaCommand : std::uint8_t { check_power_mode, identify, smart_data, smart_thresholds, smart_status };

// One open device. Each call waits two seconds at most for the device.
class Door {
 public:
  virtual ~Door() = default;
  // NVMe's Get Log Page, 02h.
  virtual Result<> nvme_log(Sector& out) = 0;
  // Through SAT's ATA PASS-THROUGH (16). `data` is filled by those that have some; the taskfile comes back from those
  // that have none. Errc::absent: there is no such thing behind this device.
  virtual Result<std::optional<Taskfile>> ata(AtaCommand command, Sector* data) = 0;
};

// Opens /dev/nvme0, /dev/sda: to read, and without waiting for a medium.
Result<std::unique_ptr<Door>> open_door(const std::string& path);

}  // namespace vitald::disk
