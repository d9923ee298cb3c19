// SPDX-License-Identifier: Apache-2.0
#include "agent/http/listen.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "core/text/scan.h"

namespace vitald {
namespace {

Result<Fd> bound(const addrinfo& at) {
  Fd fd(socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(from_errno("socket", errno));
  const int on = 1, off = 0;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (at.ai_family == AF_INET6) setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (bind(fd.get(), at.ai_addr, at.ai_addrlen) != 0) return fail(from_errno("bind", errno));
  if (::listen(fd.get(), SOMAXCONN) != 0) return fail(from_errno("listen", errno));
  return fd;
}

std::string address_of(int fd) {
  sockaddr_storage at{};
  socklen_t size = sizeof at;
  char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "";
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) != 0) return {};
  getnameinfo(reinterpret_cast<sockaddr*>(&at), size, host, sizeof host, port, sizeof port,
              NI_NUMERICHOST | NI_NUMERICSERV);
  return at.ss_family == AF_INET6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

struct Place {
  Handle<addrinfo, &freeaddrinfo> found;
  bool any_host = false;
  std::uint16_t port = 0;
};
Result<Place> place_of(std::string_view address) {
  const auto colon = address.rfind(':');
  const auto port = colon == std::string_view::npos ? std::nullopt : parse_u64(address.substr(colon + 1));
  std::string host(address.substr(0, colon == std::string_view::npos ? 0 : colon));
  const bool bracketed = host.size() > 1 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const bool odd = !bracketed && host.find(':') != std::string::npos;  // 1:2:3 without brackets
  if (!port || *port > 65535 || odd)
    return fail(Errc::malformed,
                fmt::format("--web.listen-address: '{}', expected host:port, [IPv6]:port or :port", address));

  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  if (host.empty()) hints.ai_family = AF_INET6;  // dual-stack; without IPv6 in the kernel, see listen_on()
  const auto service = std::to_string(*port);
  if (const int err = getaddrinfo(host.empty() ? nullptr : host.c_str(), service.c_str(), &hints, &found); err != 0)
    return fail(Errc::io, fmt::format("--web.listen-address: '{}': {}", address, gai_strerror(err)));
  return Place{Handle<addrinfo, &freeaddrinfo>(found), host.empty(), static_cast<std::uint16_t>(*port)};
}

}  // namespace

Result<> check_address(std::string_view address) {
  if (auto place = place_of(address); !place) return fail(std::move(place.error()));
  return {};
}

Result<Listener> listen_on(std::string_view address) {
  auto place = place_of(address);
  if (!place) return fail(std::move(place.error()));
  auto fd = bound(*place->found);
  if (!fd && place->any_host && (fd.error().err == EAFNOSUPPORT || fd.error().err == EADDRNOTAVAIL)) {
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_port = htons(place->port);
    addrinfo v4{};
    v4.ai_family = AF_INET;
    v4.ai_addr = reinterpret_cast<sockaddr*>(&any);
    v4.ai_addrlen = sizeof any;
    fd = bound(v4);
  }
  if (!fd) {
    const int err = fd.error().err;
    std::string_view hint;
    if (err == EADDRINUSE)
      hint = "; another program listens there (see: ss -ltnp), choose another --web.listen-address";
    if (err == EACCES) hint = "; ports below 1024 need CAP_NET_BIND_SERVICE";
    if (err == EADDRNOTAVAIL) hint = "; no interface of this machine has this address";
    return fail(fd.error().kind, fmt::format("cannot listen on {}: {}{}", address, fd.error().text, hint), err);
  }
  Listener listener{std::move(*fd), {}};
  listener.address = address_of(listener.fd.get());
  return listener;
}

// Descriptors 3, 4, ...; LISTEN_FDS is how many, LISTEN_PID for whom.
Result<std::vector<Listener>> systemd_listeners() {
  constexpr int kFirst = 3;
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return parse_u64(value ? value : "");
  };
  const auto pid = variable("LISTEN_PID"), count = variable("LISTEN_FDS");
  for (const auto* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) unsetenv(name);
  if (!pid || *pid != static_cast<std::uint64_t>(getpid()) || !count || *count == 0 || *count > 1024)
    return fail(Errc::absent,
                "--web.systemd-socket: no sockets from the service manager (LISTEN_FDS and LISTEN_PID of this "
                "process); start it by a .socket unit");
  std::vector<Listener> listeners;
  for (int fd = kFirst; fd < kFirst + static_cast<int>(*count); ++fd) {
    int type = 0, listens = 0;
    socklen_t size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || !listens)
      return fail(Errc::malformed,
                  fmt::format("--web.systemd-socket: descriptor {} is no listening stream socket", fd));
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
      return fail(from_errno(fmt::format("--web.systemd-socket: descriptor {}", fd), errno));
    listeners.push_back({Fd(fd), address_of(fd)});
  }
  return listeners;
}

}  // namespace vitald
