// SPDX-License-Identifier: Apache-2.0
// The kernel's word that tasks wait for a resource, as it happens: its pressure triggers (Documentation/accounting/
// psi.rst), one a second and resource at most, all behind one descriptor.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/os/fd.h"
#include "core/result.h"

namespace vitald {

// By one thread.
class StallNews {
 public:
  // From now on told of when, of a second, some task has waited for at least `stalled_ns`. Errors: gone (no such file),
  // denied (before Linux 6.4 it takes CAP_SYS_RESOURCE), io.
  Result<> watch(const std::string& file, std::int64_t stalled_ns);

  // Readable when there is news; -1 as long as nothing is watched.
  [[nodiscard]] int fd() const { return epoll_.get(); }
  // What there was is read.
  void clear();

 private:
  Fd epoll_;
  std::vector<Fd> triggers_;  // closing one ends it
};

}  // namespace vitald
