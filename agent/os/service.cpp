// SPDX-License-Identifier: Apache-2.0
#include "agent/os/service.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/log.h"
#include "core/os/descriptors.h"
#include "core/result.h"
#include "core/text/scan.h"

namespace vitald {

void notify_service(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  if (!path || (*path != '/' && *path != '@') || std::strlen(path) >= sizeof at.sun_path) return;
  const auto size = std::strlen(path);
  std::memcpy(at.sun_path, path, size);
  if (*path == '@') at.sun_path[0] = '\0';  // abstract
  const Fd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size);
  if (!fd || sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&at), length) < 0)
    log::warn("the service manager was not told", {{"state", state}, {"err", from_errno(path, errno).text}});
}

std::int64_t watchdog_interval_ns() {
  const char* interval = std::getenv("WATCHDOG_USEC");
  const char* pid = std::getenv("WATCHDOG_PID");
  if (!interval || (pid && parse_i64(pid) != getpid())) return 0;
  const auto us = parse_i64(interval).value_or(0);
  return us > 0 && us < INT64_MAX / 1000 ? us * 1000 : 0;
}

unsigned share_out_descriptors(std::size_t listeners) {
  constexpr rlim_t kConnections = 256, kLeastConnections = 4;
  // Sockets and pipes that collectors cannot do without, and files that are open for the time of one read.
  constexpr rlim_t kOthers = 16;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kConnections;
  if (limit.rlim_cur != limit.rlim_max) {
    const auto soft = std::exchange(limit.rlim_cur, limit.rlim_max);
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
      log::warn("limit of open files stays", {{"err", from_errno("setrlimit", errno).text}});
      limit.rlim_cur = soft;
    }
  }
  const auto all = std::min<rlim_t>(limit.rlim_cur, 1 << 20);
  const auto left = std::max<rlim_t>(kOthers + 8, std::min<rlim_t>(all / 3, kOthers + kConnections * listeners));
  keep_descriptors_below(static_cast<int>(all > left ? all - left : 0));
  return static_cast<unsigned>(
      std::clamp<rlim_t>((left - kOthers) / std::max<std::size_t>(listeners, 1), kLeastConnections, kConnections));
}

std::vector<Fd> seats_for_clients() {
  constexpr rlim_t kFew = 64, kSeats = 3;
  rlimit limit{};
  std::vector<Fd> seats;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < kFew)
    while (seats.size() < kSeats) seats.emplace_back(eventfd(0, EFD_CLOEXEC));
  return seats;
}

std::string too_few_descriptors(std::size_t listeners) {
  // Measured: with one less for each part of it a client is never answered, and nobody is told.
  constexpr rlim_t kOwn = 22, kPerListener = 2;  // its socket and its events
  const auto least = kOwn + kPerListener * listeners;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= least) return {};
  return fmt::format(
      "the limit of open files is {}, expected {} at least: with fewer no client is ever answered; set "
      "LimitNOFILE=4096 in the unit or raise ulimit -Hn",
      limit.rlim_cur, least);
}

}  // namespace vitald
