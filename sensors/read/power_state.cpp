// SPDX-License-Identifier: Apache-2.0
#include "sensors/read/power_state.h"

#include <cstdlib>
#include <memory>

#include "core/os/fd.h"

namespace vitald {

// /sys/devices/pci0000:00/0000:00:01.0/0000:03:00.0/hwmon/hwmon3 -> its own, hwmon, 0000:03:00.0. Up to the first that
// has a driver: what lies above that is the bus, and a controller that sleeps between two questions is made to.
PowerState::PowerState(const std::string& device) {
  const std::unique_ptr<char, Call<&std::free>> real(realpath(device.c_str(), nullptr));
  if (!real) return;
  std::string path = real.get();
  constexpr std::string_view kDevices = "/devices/";
  const auto top = path.find(kDevices);
  if (top == std::string::npos) return;
  for (; path.size() > top + kDevices.size(); path.resize(path.rfind('/'))) {
    status_.emplace_back(path + "/power/runtime_status");
    if (!read_link(path + "/driver").empty()) return;
  }
}

// "active", "suspended", "suspending", "resuming", "error", or "unsupported" where runtime power management is off
// (runtime_status_show, drivers/base/power/sysfs.c): then the device above decides.
bool PowerState::asleep() {
  for (auto& status : status_) {
    const auto text = status.text();
    if (!text || *text == "unsupported") continue;
    return *text == "suspended" || *text == "suspending";
  }
  return false;
}

}  // namespace vitald
