// SPDX-License-Identifier: Apache-2.0
// A virtual machine of one page of real-mode code, for tests that have to know how often a guest leaves.
#pragma once

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>

#include "core/os/fd.h"

namespace vitald {

class TinyGuest {
 public:
  static constexpr std::size_t kMemory = 64 * 1024, kCode = 0x1000, kHandler = 0x0f00, kStack = 0x0e00;

  // With interrupts: those that are raised by interrupt() come as vector 0x20, whose handler just ends them.
  explicit TinyGuest(bool interrupts = false)
      : kvm_(open("/dev/kvm", O_RDWR | O_CLOEXEC)), vm_(call(kvm_, KVM_CREATE_VM, 0)) {
    if (interrupts) {
      call(vm_, KVM_SET_TSS_ADDR, 0xfffbd000);
      call(vm_, KVM_CREATE_IRQCHIP, 0);
    }
    memory_ =
        static_cast<std::uint8_t*>(mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    if (memory_ == MAP_FAILED) throw std::runtime_error("mmap");
    kvm_userspace_memory_region region{0, 0, 0, kMemory, reinterpret_cast<std::uint64_t>(memory_)};
    call(vm_, KVM_SET_USER_MEMORY_REGION, reinterpret_cast<std::uintptr_t>(&region));
    vcpu_ = Fd(call(vm_, KVM_CREATE_VCPU, 0));
    const auto size = static_cast<std::size_t>(call(kvm_, KVM_GET_VCPU_MMAP_SIZE, 0));
    void* run = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_.get(), 0);
    if (run == MAP_FAILED) throw std::runtime_error("mmap of the virtual CPU");
    run_ = static_cast<kvm_run*>(run);
    // push ax; mov al, 0x20; out 0x20, al; pop ax; iret
    constexpr std::uint8_t kEnd[] = {0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf};
    std::memcpy(memory_ + kHandler, kEnd, sizeof kEnd);
    memory_[0x20 * 4] = kHandler & 0xff, memory_[0x20 * 4 + 1] = kHandler >> 8;
  }

  // From its begin until it halts where nothing can wake it, or writes to port 0x81. Returns how often it came back to
  // us meanwhile.
  std::uint64_t run(std::span<const std::uint8_t> code) {
    std::memcpy(memory_ + kCode, code.data(), code.size());
    kvm_sregs sregs{};
    call(vcpu_, KVM_GET_SREGS, reinterpret_cast<std::uintptr_t>(&sregs));
    sregs.cs.base = 0, sregs.cs.selector = 0;
    call(vcpu_, KVM_SET_SREGS, reinterpret_cast<std::uintptr_t>(&sregs));
    kvm_regs regs{};
    regs.rip = kCode, regs.rsp = kStack, regs.rflags = 2;
    call(vcpu_, KVM_SET_REGS, reinterpret_cast<std::uintptr_t>(&regs));
    for (std::uint64_t back = 1;; ++back) {
      if (ioctl(vcpu_.get(), KVM_RUN, 0) != 0) {
        if (errno == EINTR || errno == EAGAIN) continue;
        throw std::runtime_error(std::string("KVM_RUN: ") + std::strerror(errno));
      }
      if (run_->exit_reason == KVM_EXIT_HLT || (run_->exit_reason == KVM_EXIT_IO && run_->io.port == 0x81)) return back;
      if (run_->exit_reason != KVM_EXIT_IO)
        throw std::runtime_error("the guest left with " + std::to_string(run_->exit_reason));
    }
  }
  // From any thread.
  void interrupt() const {
    for (const std::uint32_t level : {1U, 0U}) {
      kvm_irq_level line{};
      line.irq = 0, line.level = level;
      ioctl(vm_.get(), KVM_IRQ_LINE, &line);
    }
  }

 private:
  static int call(const Fd& fd, unsigned long what, std::uintptr_t with) {
    const int result = ioctl(fd.get(), what, with);
    if (result < 0) throw std::runtime_error("KVM " + std::to_string(what & 0xff) + ": " + std::strerror(errno));
    return result;
  }
  Fd kvm_, vm_, vcpu_;
  std::uint8_t* memory_ = nullptr;
  kvm_run* run_ = nullptr;
};

}  // namespace vitald
