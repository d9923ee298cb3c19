// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/run_stats.h"

#include "core/mutex.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

class RunStats {
 public:
  bool seen(std::int64_t now_ns) {
    const MutexLock lock(mutex_);
    if (now_ns - asked_ns_ < kSecondNs) return seen_;
    asked_ns_ = now_ns;
    const auto enabled = file_.read();
    if (enabled && trim(*enabled) == "1") seen_ = true;
    return seen_;
  }

 private:
  Mutex mutex_;
  KernelFile file_ GUARDED_BY(mutex_){"/proc/sys/kernel/bpf_stats_enabled", KernelFile::Read::sysctl};
  std::int64_t asked_ns_ GUARDED_BY(mutex_) = -kSecondNs;
  bool seen_ GUARDED_BY(mutex_) = false;
};

}  // namespace

bool kernel_counts_runs(std::int64_t now_ns) {
  static RunStats stats;
  return stats.seen(now_ns);
}

}  // namespace vitald
