// SPDX-License-Identifier: Apache-2.0
// Everything a collector may know about its machine. Every path comes through here, so that every
// collector runs against a fixture tree as well.
#pragma once

#include <string>
#include <string_view>

#include "core/clock.h"

namespace vitald {

struct HostRoots {
  std::string proc = "/proc";
  std::string sys = "/sys";
  std::string root = "/";
  std::string udev = "/run/udev/data";
};

class Host {
 public:
  using Roots = HostRoots;

  explicit Host(Roots roots = Roots(), const Clock* clock = nullptr);
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  // procfs("stat") is "/proc/stat", or wherever --path.procfs points.
  [[nodiscard]] std::string procfs(std::string_view relative) const;
  [[nodiscard]] std::string sysfs(std::string_view relative) const;
  [[nodiscard]] std::string rootfs(std::string_view relative) const;
  [[nodiscard]] std::string udev(std::string_view relative) const;
  [[nodiscard]] const Roots& roots() const { return roots_; }
  // True when proc and sys are the running kernel's own: only then may netlink, BPF or system calls stand
  // in for files.
  [[nodiscard]] bool live() const { return roots_.proc == "/proc" && roots_.sys == "/sys"; }

  [[nodiscard]] const Clock& clock() const { return *clock_; }
  [[nodiscard]] double clock_ticks_per_second() const { return ticks_; }
  [[nodiscard]] long page_size_bytes() const { return page_size_; }

 private:
  Roots roots_;
  SystemClock system_clock_;
  const Clock* clock_;
  double ticks_;
  long page_size_;
};

}  // namespace vitald
