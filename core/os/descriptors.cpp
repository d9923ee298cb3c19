// SPDX-License-Identifier: Apache-2.0
#include "core/os/descriptors.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/log.h"

namespace vitald {
namespace {
std::atomic<bool> g_short{false};
}  // namespace

bool detail::say_descriptors_are_short() {
  if (!g_short.exchange(true)) log::warn(kDescriptorsAreShort);
  return false;
}

void keep_descriptors_below(int number) { detail::kept_below = number; }
int descriptors_kept_below() { return detail::kept_below; }

int next_descriptor() {
  const int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return INT_MAX;
  ::close(fd);
  return fd;
}

int open_descriptors() {
  DIR* const listing = opendir("/proc/self/fd");
  if (listing == nullptr) return INT_MAX;
  int count = -3;  // ".", ".." and the listing itself
  while (readdir(listing) != nullptr) ++count;
  closedir(listing);
  return count;
}

bool descriptors_are_short() { return g_short; }

}  // namespace vitald
