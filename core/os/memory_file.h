// SPDX-License-Identifier: Apache-2.0
// A file that is nowhere but in memory.
#pragma once

#include <sys/mman.h>

#include <cerrno>

#include "core/os/fd.h"

namespace vitald {

// Empty, may be sealed; not for programs, which hosts may forbid (vm.memfd_noexec; MFD_NOEXEC_SEAL since Linux 6.3).
// Empty Fd: errno says why. Any thread.
inline Fd memory_file(const char* name) {
  constexpr unsigned kNoExecSeal = 8;
  Fd fd(memfd_create(name, MFD_CLOEXEC | kNoExecSeal));
  if (!fd && errno == EINVAL) fd.reset(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  return fd;
}

}  // namespace vitald
