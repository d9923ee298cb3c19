// SPDX-License-Identifier: Apache-2.0
// The file energy_uj of a zone of powercap: the kernel's, or in a guest one that its host gives it (push.guest_energy),
// where each number is a new file in the place of the one before.
#pragma once

#include <linux/magic.h>
#include <sys/vfs.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/os/kernel_file.h"
#include "core/result.h"

namespace vitald {

// As KernelFile, but what is not the kernel's is opened for every read. Not thread-safe.
class ZoneCounter {
 public:
  ZoneCounter() = default;
  explicit ZoneCounter(std::string path) : file_(std::move(path)) {}

  Result<std::string_view> read() {
    if (!kernels_) {
      struct statfs fs {};
      if (statfs(file_.path().c_str(), &fs) == 0) kernels_ = fs.f_type == SYSFS_MAGIC;
    }
    if (!kernels_.value_or(false)) file_.close();
    return file_.read();
  }
  [[nodiscard]] const std::string& path() const { return file_.path(); }

 private:
  KernelFile file_;
  std::optional<bool> kernels_;
};

}  // namespace vitald
