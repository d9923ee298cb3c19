// SPDX-License-Identifier: Apache-2.0
// Whether a device sleeps (runtime power management). Reading most attributes of one that does makes its driver resume
// it: watts, fans and seconds of load for every scrape. The state itself is the kernel's own and wakes nothing
// (Documentation/ABI/testing/sysfs-devices-power).
#pragma once

#include <string>
#include <vector>

#include "sensors/read/kernel_tree.h"

namespace vitald {

class PowerState {
 public:
  // `device`: the device's folder or a link to it. Where it has no power management of its own (an NVMe controller, a
  // phy), the device that it is a part of counts.
  explicit PowerState(const std::string& device);

  bool asleep();

 private:
  std::vector<Attribute> status_;
};

}  // namespace vitald
