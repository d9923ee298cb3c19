// SPDX-License-Identifier: Apache-2.0
// The vCPU threads of a guest and its cgroups, read from /proc and /sys: nanoseconds every cycle for 3 us a vCPU, where
// libvirt's vcpu group costs 340 us a guest and counts the time in ticks of 10 ms. The numbers are the same ones:
// qemuGetSchedInfo() and virProcessGetStatInfo() in libvirt read these files too.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/host.h"
#include "sensors/virt/guest.h"

namespace vitald::virt {

class QemuThreads {
 public:
  // Looks for the process of a guest that runs. False: not seen from here (another PID namespace, another
  // hypervisor than QEMU, a kernel without CONFIG_SCHED_INFO); its vCPUs are libvirt's to tell.
  bool find(const Host& host, const std::string& guest);
  [[nodiscard]] bool found() const { return !files_.empty(); }
  [[nodiscard]] std::size_t count() const { return files_.size(); }
  // Whether vCPUs were plugged or unplugged since find(): then it has to look again. Threads that do other work come
  // and go; what they are is read once of each.
  bool changed(const Host& host);
  [[nodiscard]] bool stale() const { return stale_; }  // what changed() said since find()
  // Run time and delay of each, and with `cpus` where it ran last; what is gone is absent.
  void read(std::vector<Vcpu>& vcpus, bool cpus) const;

  // How long the guest's own cgroups were kept from running by a limit (cputune's quota and the like).
  struct Throttled {
    std::string_view part;  // vcpu, emulator, iothread, or guest: all of it
    double seconds = 0, periods = 0;
  };
  // Summed by part, with what groups that are gone had counted. Nothing where the guest has no cgroup of its own or no
  // cgroup v2 with a cpu controller.
  [[nodiscard]] std::vector<Throttled> throttled();

 private:
  struct File {
    std::size_t vcpu;
    std::string tid, path;  // not kept open: a host may have more vCPUs than we may have descriptors
  };
  struct Group {
    std::string_view part;
    std::string path;                     // of its cpu.stat
    bool known = false;                   // it has been read
    std::uint64_t usec = 0, periods = 0;  // when it was last
  };
  void find_groups(const Host& host, std::uint64_t pid);
  std::vector<File> files_;
  std::vector<std::string> tids_;  // of all its threads, as they were seen last
  bool stale_ = false;
  std::vector<Group> groups_;
  std::uint64_t pid_ = 0;
  std::vector<Group> gone_;  // of vCPUs and I/O threads that were unplugged since it started: what they had counted
};

}  // namespace vitald::virt
