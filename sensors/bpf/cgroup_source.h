// SPDX-License-Identifier: Apache-2.0
// Whether the numbers of cgroups come from the BPF iterator now, or their files have to be read: where it failed (no
// memory, no descriptor, a map that could not be filled) it is loaded anew after a while, later each time. Where the
// kernel has none, or may not be asked, it stays with the files. Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/result.h"
#include "sensors/bpf/cgroup_iterator.h"
#include "sensors/owner/cgroup_files.h"
#include "sensors/read/left_out.h"

namespace vitald {

class CgroupSource {
 public:
  using Load = std::function<Result<std::unique_ptr<CgroupIterator>>()>;
  // Loads at once. `load` is asked again on the thread of read().
  CgroupSource(Load load, const Clock& clock);

  // From now on those at these paths, in this order.
  void want(std::vector<std::string> paths);
  // All of them, if the iterator serves.
  void read(LeftOut& left_out);
  // Of the last read(). False where its files have to be read.
  bool get(std::size_t which, cgroup::Values& out, LeftOut& left_out);

  // "by a BPF iterator", or "by files: " and why.
  [[nodiscard]] std::string status() const;

 private:
  void load();
  void lost(const Error& why);

  const Load load_;
  const Clock& clock_;
  std::vector<std::string> paths_;
  std::unique_ptr<CgroupIterator> iterator_;
  std::string why_files_;
  std::int64_t wait_ns_ = 0;                   // before it was loaded last, or is loaded the next time
  std::int64_t again_ns_ = 0, loaded_ns_ = 0;  // of the boot clock; again_ns_ 0: never again
  bool said_ = false;                          // that files are read
};

}  // namespace vitald
