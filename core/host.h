// SPDX-License-Identifier: Apache-2.0
// Everything a collector may know about its machine. Every path comes through here, so that every
// collector runs against a fixture tree as well.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeindex>
#include <vector>

#include "core/clock.h"
#include "core/mutex.h"
#include "core/os/host_view.h"

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
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  // procfs("stat") is "/proc/stat", or wherever --path.procfs points. procfs("net/dev") is of the network namespace
  // that sysfs shows: where ours is another one, that of process 1.
  [[nodiscard]] std::string procfs(std::string_view relative) const;
  [[nodiscard]] std::string sysfs(std::string_view relative) const;
  [[nodiscard]] std::string rootfs(std::string_view relative) const;
  [[nodiscard]] std::string udev(std::string_view relative) const;
  [[nodiscard]] const Roots& roots() const { return roots_; }
  // What of the machine is before us, looked at once. Each asks what it needs: BPF and system calls may stand in for
  // files where view().kernel, netlink and ioctl where view().network.
  [[nodiscard]] const HostView& view() const { return view_; }
  // Netlink and ioctl would answer, and of other interfaces: a container without the host's network.
  [[nodiscard]] bool other_network() const { return view_.kernel && !view_.network; }

  [[nodiscard]] const Clock& clock() const { return *clock_; }
  [[nodiscard]] double clock_ticks_per_second() const { return ticks_; }
  [[nodiscard]] long page_size_bytes() const { return page_size_; }

  // What the collectors of one host share: one T per host, made by whoever asks first as T(host) or T(), gone with the
  // host in the opposite order. Any thread may ask. A collector that hangs leaves its thread behind with whatever it
  // holds, so making a T must not block, and a T guards itself so that a second user neither races nor waits for ever
  // (a try_lock and another way).
  template <class T>
  T& shared() const {
    const auto make = [](const Host& host) -> std::shared_ptr<void> {
      if constexpr (std::is_constructible_v<T, const Host&>) return std::make_shared<T>(host);
      else return std::make_shared<T>();
    };
    return *static_cast<T*>(shared_by(typeid(T), make));
  }

 private:
  using MakeShared = std::shared_ptr<void> (*)(const Host&);
  struct Shared {
    std::once_flag once;
    std::shared_ptr<void> object;
  };
  void* shared_by(std::type_index type, MakeShared make) const;

  Roots roots_;
  HostView view_;
  SystemClock system_clock_;
  const Clock* clock_;
  double ticks_;
  long page_size_;
  mutable Mutex mutex_;
  mutable std::map<std::type_index, Shared> shared_ GUARDED_BY(mutex_);  // each object by its once_flag
  mutable std::vector<std::shared_ptr<void>*> in_order_of_making_ GUARDED_BY(mutex_);
};

}  // namespace vitald
