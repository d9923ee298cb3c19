// SPDX-License-Identifier: Apache-2.0
// Names of PCI devices from the pci.ids file of pciutils. 1.3 MB of text: read while devices are described,
// searched as text, and forgotten.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace vitald {

class PciIds {
 public:
  // Reads `path`, or when that is empty the distribution's file; once, later calls do nothing. A file that is
  // not there leaves every name to be its number.
  Result<> load(const std::string& path);

  // For numbers as sysfs has them ("0x1022"): appends the names of vendor, device, subsystem vendor,
  // subsystem device and class.
  void append_names(std::string_view device_class, std::string_view vendor, std::string_view device,
                    std::string_view sub_vendor, std::string_view sub_device, std::vector<std::string>& out) const;

 private:
  std::string text_;
  bool loaded_ = false;
};

}  // namespace vitald
