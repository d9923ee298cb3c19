// SPDX-License-Identifier: Apache-2.0
// The vCPU threads of a guest, read from /proc: nanoseconds every cycle for 3 us a vCPU, where libvirt's vcpu
// group costs 340 us a guest and counts the time in ticks of 10 ms. The numbers are the same ones:
// qemuGetSchedInfo() and virProcessGetStatInfo() in libvirt read these files too.
#pragma once

#include <string>
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
  // Run time and delay of each; what is gone is absent.
  void read(std::vector<Vcpu>& vcpus) const;

 private:
  struct File {
    std::size_t vcpu;
    std::string path;  // not kept open: a host may have more vCPUs than we may have descriptors
  };
  std::vector<File> files_;
};

}  // namespace vitald::virt
