// SPDX-License-Identifier: Apache-2.0
// What the files of one cgroup say, on v2 and on v1: CPU, memory, I/O, tasks, pressure. What a kernel or a controller
// does not have, and a limit that nobody set, is no number. Files stay open. Not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "sensors/read/left_out.h"

namespace vitald::cgroup {

// Seconds, bytes and counts; quota and period of the CPU in microseconds.
enum Number : std::size_t {
  cpu_usage,
  cpu_user,
  cpu_system,
  cpu_periods,
  cpu_throttled_periods,
  cpu_throttled,
  cpu_quota,
  cpu_period,
  cpu_shares,
  memory_usage,
  memory_working_set,
  memory_rss,
  memory_cache,
  memory_mapped,
  memory_swap,
  memory_max_usage,
  memory_failcnt,
  memory_oom,
  memory_pgfault,
  memory_pgmajfault,
  memory_limit,
  swap_limit,
  threads,
  threads_limit,
  cpu_waiting,
  cpu_stalled,
  memory_waiting,
  memory_stalled,
  io_waiting,
  io_stalled,
  kNumbers
};
// What a cgroup has moved to and from one disk.
enum IoNumber : std::size_t { read_bytes, written_bytes, reads, writes, kIoNumbers };

inline constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

struct Io {
  std::string device;                           // as the kernel numbers it, "8:0"
  std::array<double, kIoNumbers> values = [] {  // kNone where there is none
    std::array<double, kIoNumbers> none{};
    none.fill(kNone);
    return none;
  }();
};
struct Values {
  std::array<double, kNumbers> numbers{};  // kNone where there is none
  std::vector<Io> io;
};

class Reader {
 public:
  Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  virtual ~Reader() = default;
  // All numbers anew. A file that cannot be read or understood costs its own numbers and is told of.
  virtual void read(Values& out, LeftOut& left_out) = 0;
};

// `folder`: the cgroup's.
std::unique_ptr<Reader> v2_reader(const std::string& folder);
// `root`: where the hierarchies of the controllers are mounted, "/sys/fs/cgroup"; `path`: the cgroup's below each.
std::unique_ptr<Reader> v1_reader(const std::string& root, const std::string& path, double clock_ticks_per_second);

}  // namespace vitald::cgroup
