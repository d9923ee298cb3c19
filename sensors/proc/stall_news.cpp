// SPDX-License-Identifier: Apache-2.0
#include "sensors/proc/stall_news.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>

namespace vitald {

Result<> StallNews::watch(const std::string& file, std::int64_t stalled_ns) {
  const auto us = stalled_ns / 1000;
  // A window of one second; who lacks CAP_SYS_RESOURCE gets those of whole two seconds, from 6.4 on.
  for (const int seconds : {1, 2}) {
    Fd trigger(open(file.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (!trigger && (errno == EPERM || errno == EACCES))
      return fail(Errc::denied, fmt::format("{}: before Linux 6.4 this takes CAP_SYS_RESOURCE", file), errno);
    if (!trigger) return fail(from_errno(file, errno));
    const auto text = fmt::format("some {} {}", us * seconds, seconds * 1'000'000);
    if (write(trigger.get(), text.c_str(), text.size() + 1) < 0) {  // with its NUL
      if (seconds == 1 && (errno == EPERM || errno == EINVAL)) continue;
      return fail(from_errno(fmt::format("{}: '{}'", file, text), errno));
    }
    if (!epoll_) epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{};
    event.events = EPOLLPRI;
    if (!epoll_ || epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, trigger.get(), &event) != 0)
      return fail(from_errno("epoll of " + file, errno));
    triggers_.push_back(std::move(trigger));
    return {};
  }
  return {};
}

void StallNews::clear() {
  epoll_event events[8];
  if (epoll_) epoll_wait(epoll_.get(), events, 8, 0);  // asking a trigger takes its news
}

}  // namespace vitald
