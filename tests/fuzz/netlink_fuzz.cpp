// SPDX-License-Identifier: Apache-2.0
// The collectors that ask over netlink, with answers made of the input. No socket is opened: what they send goes
// nowhere, what they receive are messages with the right sequence number and any content.
#include <fcntl.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstring>

#include "core/collector.h"
#include "tests/fuzz/input.h"

namespace {

vitald::Input* answers;
std::uint32_t sequence;

}  // namespace

extern "C" {

int __wrap_socket(int, int type, int) {
  return ::open("/dev/null", O_RDWR | O_CLOEXEC | (type & SOCK_NONBLOCK ? O_NONBLOCK : 0));
}
int __wrap_bind(int, const sockaddr*, socklen_t) { return 0; }
int __wrap_setsockopt(int, int, int, const void*, socklen_t) { return 0; }
ssize_t __wrap_send(int, const void* message, size_t size, int) {
  if (size >= sizeof(nlmsghdr)) std::memcpy(&sequence, static_cast<const char*>(message) + 8, sizeof sequence);
  return static_cast<ssize_t>(size);
}
// One message: type (0: the end of the dump), flags, content.
ssize_t __wrap_recv(int fd, void* to, size_t size, int flags) {
  if ((flags & MSG_DONTWAIT) || (fcntl(fd, F_GETFL) & O_NONBLOCK)) {
    if (answers->byte() & 1) return 1;  // an announcement
    errno = EAGAIN;
    return -1;
  }
  nlmsghdr header{};
  header.nlmsg_seq = sequence;
  header.nlmsg_type = NLMSG_DONE;
  std::string_view content;
  if (const auto what = answers->byte(); what != 0) {
    header.nlmsg_type = what == 1 ? NLMSG_ERROR : what;
    header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_MULTI | (what % 16 == 3 ? NLM_F_DUMP_INTR : 0));
    content = answers->bytes();
  }
  header.nlmsg_len = static_cast<std::uint32_t>(NLMSG_HDRLEN + content.size());
  if (header.nlmsg_type == 255) header.nlmsg_len += 9;  // says that it is longer than what came
  if (NLMSG_HDRLEN + content.size() > size) return 0;
  std::memcpy(to, &header, sizeof header);
  if (!content.empty()) std::memcpy(static_cast<char*>(to) + NLMSG_HDRLEN, content.data(), content.size());
  return static_cast<ssize_t>(NLMSG_HDRLEN + content.size());
}
}

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace vitald;
  static constexpr std::string_view kNames[] = {"arp",     "netdev",        "netclass", "qdisc",
                                                "tcpstat", "network_route", "wifi"};
  static const Host kHost;
  Input in(data, size);
  answers = &in;
  const auto name = kNames[in.byte() % std::size(kNames)];
  for (const auto& entry : collector_list()) {
    if (entry.name != name) continue;
    Options options;
    options.declare(entry.info->flags);
    if (name == "netclass") options.set("collector.netclass.netlink", "true");
    const auto made = entry.info->make(kHost, options);
    if (!made) return 0;
    BatchWriter writer{std::string(name)};
    for (int i = 0; i < 3; ++i) {
      writer.begin(i);
      const auto outcome = (*made)->collect(writer);
      (void)writer.finish(outcome, 0, 0);
    }
  }
  return 0;
}
