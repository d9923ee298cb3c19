// SPDX-License-Identifier: Apache-2.0
// The numbers of many cgroups of v2 at once, by the BPF iterator of bpf/cgroups.bpf.c, without a file for each. What
// is in memory.stat is numbered differently by each kernel: until it is known where it lies, a cgroup's file is read.
// Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/host.h"
#include "core/result.h"
#include "sensors/owner/cgroup_files.h"
#include "sensors/read/left_out.h"

namespace vitald {

class CgroupIterator {
 public:
  // `root`: where v2 is mounted. Errors: absent where the kernel has none (before Linux 6.1), denied.
  static Result<std::unique_ptr<CgroupIterator>> load(const Host& host, const std::string& root);
  virtual ~CgroupIterator() = default;
  CgroupIterator(const CgroupIterator&) = delete;
  CgroupIterator& operator=(const CgroupIterator&) = delete;

  // From now on those at these paths below the root, in this order. What cannot be done anew is an error, and the
  // iterator is of no use any more.
  virtual Result<> want(std::span<const std::string> paths) = 0;
  // Reads all of them.
  virtual Result<> read(LeftOut& left_out) = 0;
  // Of the last read(). False where there is none: the cgroup has gone, or is younger.
  virtual bool get(std::size_t which, cgroup::Values& out, LeftOut& left_out) = 0;
  // Whether what memory.stat has comes from the kernel as well.
  [[nodiscard]] virtual bool knows_memory_stat() const = 0;

 protected:
  CgroupIterator() = default;
};

}  // namespace vitald
