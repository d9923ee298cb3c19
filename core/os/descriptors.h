// SPDX-License-Identifier: Apache-2.0
// File descriptors can be few (LimitNOFILE=, ulimit -n), and the last ones are for clients: without one no scrape is
// answered. The kernel gives out the lowest free number, so a number tells how many are taken, and what is kept
// open for speed alone is kept only below one.
#pragma once

#include <atomic>
#include <climits>

namespace vitald {

namespace detail {
inline std::atomic<int> kept_below{INT_MAX};
bool say_descriptors_are_short();  // false
}  // namespace detail

// From here on descriptors are for clients and for what is closed again at once. No limit before the first call.
void keep_descriptors_below(int number);

// Whether `fd` may be kept. Where it may not, that is said once in the log.
[[nodiscard]] inline bool may_keep(int fd) {
  return fd < detail::kept_below.load(std::memory_order_relaxed) || detail::say_descriptors_are_short();
}

// The number that was given last.
[[nodiscard]] int descriptors_kept_below();

// The same for a kernel file or folder, which is only faster when it stays open. From kMostKept on none is: an open
// file costs the kernel 5 kB, the page of its seq_file.
inline constexpr int kMostKept = 4096;
[[nodiscard]] inline bool may_keep_kernel_file(int fd) { return fd < kMostKept && may_keep(fd); }

// The number that the next descriptor gets; INT_MAX when there is none left.
[[nodiscard]] int next_descriptor();

// How many are open; INT_MAX when there is none left to count with. A listing of /proc/self/fd.
[[nodiscard]] int open_descriptors();

// Whether something could not be kept.
[[nodiscard]] bool descriptors_are_short();

// For logs and reports.
inline constexpr const char* kDescriptorsAreShort =
    "the limit of open files is low: kernel files are opened for every read, which costs CPU time, and probes may be "
    "off; set LimitNOFILE=4096 in the unit or raise ulimit -Hn";

}  // namespace vitald
