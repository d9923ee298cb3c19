// SPDX-License-Identifier: Apache-2.0
// What supervisord and an NTP server answer. No socket is opened: what is sent goes nowhere, what is received is the
// input, piece by piece, then the end.
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "core/collector.h"
#include "tests/fuzz/input.h"

namespace {

vitald::Input* answers;
char sent[48];  // the last bytes of it: an NTP query, which the answer has to repeat

}  // namespace

extern "C" {

int __wrap_socket(int, int, int) { return ::open("/dev/null", O_RDWR | O_CLOEXEC); }
int __wrap_connect(int, const sockaddr*, socklen_t) { return 0; }
int __wrap_setsockopt(int, int, int, const void*, socklen_t) { return 0; }
int __wrap_poll(pollfd* fds, nfds_t, int) { return fds->revents = fds->events, 1; }
ssize_t __wrap_send(int, const void* message, size_t size, int) {
  if (size == sizeof sent) std::memcpy(sent, message, size);
  return static_cast<ssize_t>(size);
}
ssize_t __wrap_recv(int, void* to, size_t size, int flags) {
  auto piece = answers->bytes();
  piece = piece.substr(0, size);
  if (!piece.empty()) std::memcpy(to, piece.data(), piece.size());
  if ((flags & MSG_DONTWAIT) != 0 && piece.size() >= sizeof sent)
    std::memcpy(static_cast<char*>(to) + 24, sent + 40, 8);
  return static_cast<ssize_t>(piece.size());
}
}

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace vitald;
  static const Host kHost;
  Input in(data, size);
  answers = &in;
  const std::string_view name = in.byte() % 2 == 0 ? "supervisord" : "ntp";
  for (const auto& entry : collector_list()) {
    if (entry.name != name) continue;
    Options options;
    options.declare(entry.info->flags);
    if (name == "supervisord") options.set("collector.supervisord.url", "unix:///fuzz");
    const auto made = entry.info->make(kHost, options);
    if (!made) return 0;
    BatchWriter writer{std::string(name)};
    writer.begin(0);
    const auto outcome = (*made)->collect(writer);
    (void)writer.finish(outcome, 0, 0);
  }
  return 0;
}
