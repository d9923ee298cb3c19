// SPDX-License-Identifier: Apache-2.0
// What the kernel says in its log and shows nowhere else at that moment: tasks that hang, disks and filesystems that
// fail, CPUs that are stuck, hardware that made a mistake. Follows /dev/kmsg from its end; every reader has a place of
// its own, so nobody loses a line by it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "core/mutex.h"
#include "core/os/fd.h"
#include "core/result.h"

namespace vitald {

// One line that is news.
struct KernelNews {
  std::string kind;    // one of kernel_news_kinds()
  std::string device;  // of disk_error and filesystem_error; of memory_error its controller
  std::string comm;    // of hung_task and soft_lockup
  std::string pid;
  std::string line;    // as the kernel said it
  bool kernel = true;  // false: a program wrote it to /dev/kmsg (root may)
  std::int64_t boot_ns = 0;

  bool operator==(const KernelNews&) const = default;
};

std::span<const std::string_view> kernel_news_kinds();

// A record as a read of /dev/kmsg gives it (Documentation/ABI/testing/dev-kmsg). Nothing: it is no news.
std::optional<KernelNews> kernel_news_of(std::string_view record);
// Its number; they are consecutive.
std::optional<std::uint64_t> kernel_record_number(std::string_view record);

// A thread of its own, asleep while the kernel says nothing: the cycle's would have to wake for every line to see that
// it is none of these.
class KernelLogTail {
 public:
  // As many lines are read at once, then comes a pause: a log that floods costs a percent of a CPU, and what the kernel
  // overwrites meanwhile is counted.
  static constexpr std::size_t kBurst = 256;
  static constexpr std::int64_t kPauseNs = 50'000'000;
  static constexpr std::size_t kMostWaiting = 256;  // beyond it they are counted, and no more
  static constexpr std::size_t kMostDevices = 64;   // then "other"

  // Reads one record, as read(2) does: -1 and errno EAGAIN at the end, EPIPE once where some were overwritten.
  using Read = std::function<std::ptrdiff_t(char*, std::size_t)>;

  // From the log's end on. Errors: gone, denied (what is missing is said), io.
  static Result<std::unique_ptr<KernelLogTail>> follow(const std::string& path, const Clock& clock);
  // For tests: `wait_fd` is readable while `read` has something.
  KernelLogTail(Fd wait_fd, Read read, const Clock& clock);
  ~KernelLogTail();
  KernelLogTail(const KernelLogTail&) = delete;
  KernelLogTail& operator=(const KernelLogTail&) = delete;

  // Readable when there is news; take() makes it silent.
  [[nodiscard]] int fd() const { return told_.get(); }

  struct Taken {
    std::vector<KernelNews> news;  // those since the last call
    // All since the start.
    std::uint64_t records = 0, lost = 0, left_out = 0;
    std::map<std::string, std::uint64_t, std::less<>> kinds, disk_errors;
    std::string problem;  // why it does not follow any more
  };
  Taken take();

 private:
  void run();
  // Whether there may be more at once.
  bool read_some();
  void count(KernelNews news) REQUIRES(mutex_);

  const Clock& clock_;
  const Fd wait_, told_, stop_;
  const Read read_;
  std::string buffer_;
  std::optional<std::uint64_t> next_;  // number of the record that comes now

  Mutex mutex_;
  Taken all_ GUARDED_BY(mutex_);
  std::thread thread_;  // last: it uses the rest
};

}  // namespace vitald
