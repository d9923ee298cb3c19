// SPDX-License-Identifier: Apache-2.0
#include "agent/http/listen.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
// after sys/socket.h
#include <linux/vm_sockets.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "core/log.h"
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

std::string text_of(const sockaddr* at, socklen_t size) {
  char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "";
  if (at->sa_family == AF_VSOCK) {
    const auto& vm = reinterpret_cast<const sockaddr_vm&>(*at);
    return fmt::format("vsock://{}:{}", vm.svm_cid == VMADDR_CID_ANY ? "" : std::to_string(vm.svm_cid), vm.svm_port);
  }
  getnameinfo(at, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
  return at->sa_family == AF_INET6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

std::string address_of(int fd) {
  sockaddr_storage at{};
  socklen_t size = sizeof at;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) != 0) return {};
  return text_of(reinterpret_cast<const sockaddr*>(&at), size);
}

addrinfo info_of(const sockaddr* at, socklen_t size) {
  addrinfo info{};
  info.ai_family = at->sa_family;
  info.ai_addr = const_cast<sockaddr*>(at);  // bind() only reads it
  info.ai_addrlen = size;
  return info;
}

Error cannot_listen(std::string_view address, const Error& why) {
  std::string_view hint;
  if (why.err == EADDRINUSE)
    hint = "; another program listens there (see: ss -ltnp), choose another --web.listen-address";
  if (why.err == EACCES) hint = "; ports below 1024 need CAP_NET_BIND_SERVICE";
  if (why.err == EADDRNOTAVAIL) hint = "; no interface of this machine has this address";
  if (why.err == EAFNOSUPPORT) hint = "; the kernel of this machine has no such addresses";
  return {why.kind, why.err, fmt::format("cannot listen on {}: {}{}", address, why.text, hint)};
}

Result<std::vector<Listener>> one(Result<Fd> fd, std::string_view address) {
  if (!fd) return fail(cannot_listen(address, fd.error()));
  std::vector<Listener> listeners;
  listeners.push_back({std::move(*fd), {}});
  listeners[0].address = address_of(listeners[0].fd.get());
  return listeners;
}

// What an address says, before anything is opened.
struct Place {
  std::optional<sockaddr_vm> vsock;
  Handle<addrinfo, &freeaddrinfo> found;  // of a host by name or number; none: every address
  std::uint16_t port = 0;
};

// "vsock://:9100", "vsock://3:9100"
Result<Place> vsock_place(std::string_view address) {
  auto rest = address;
  take_prefix(rest, "vsock://");
  const auto cid = take_until(rest, ':');
  const auto context = cid.empty() ? std::optional<std::uint64_t>(VMADDR_CID_ANY) : parse_u64(cid);
  const auto port = parse_u64(rest);
  if (!port || *port > 0xffffffff || !context || *context > 0xffffffff)
    return fail(Errc::malformed, fmt::format("--web.listen-address: '{}', expected vsock://:port", address));
  sockaddr_vm at{};
  at.svm_family = AF_VSOCK;
  at.svm_cid = static_cast<unsigned>(*context);
  at.svm_port = *port == 0 ? VMADDR_PORT_ANY : static_cast<unsigned>(*port);
  Place place;
  place.vsock = at;
  return place;
}

Result<Place> place_of(std::string_view address) {
  if (address.starts_with("vsock://")) return vsock_place(address);
  const auto colon = address.rfind(':');
  const auto port = parse_u64(colon == std::string_view::npos ? std::string_view() : address.substr(colon + 1));
  std::string host(address.substr(0, colon == std::string_view::npos ? 0 : colon));
  const bool bracketed = host.size() > 1 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const bool odd = !bracketed && host.find(':') != std::string::npos;  // 1:2:3 without brackets
  if (!port || *port > 65535 || odd)
    return fail(Errc::malformed, fmt::format("--web.listen-address: '{}', expected host:port, [IPv6]:port, :port or "
                                             "vsock://:port",
                                             address));
  Place place;
  place.port = static_cast<std::uint16_t>(*port);
  if (host.empty()) return place;

  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  const auto service = std::to_string(*port);
  if (const int err = getaddrinfo(host.c_str(), service.c_str(), &hints, &found); err != 0)
    return fail(Errc::io, fmt::format("--web.listen-address: '{}': {}", address, gai_strerror(err)));
  place.found.reset(found);
  return place;
}

// Dual-stack; where the kernel has no IPv6, IPv4.
Result<std::vector<Listener>> listen_on_all(std::uint16_t port, std::string_view address) {
  sockaddr_in6 any6{};
  any6.sin6_family = AF_INET6;
  any6.sin6_port = htons(port);
  auto fd = bound(info_of(reinterpret_cast<const sockaddr*>(&any6), sizeof any6));
  if (!fd && (fd.error().err == EAFNOSUPPORT || fd.error().err == EADDRNOTAVAIL)) {
    sockaddr_in any4{};
    any4.sin_family = AF_INET;
    any4.sin_port = htons(port);
    fd = bound(info_of(reinterpret_cast<const sockaddr*>(&any4), sizeof any4));
  }
  return one(std::move(fd), address);
}

// IPv4's and IPv6's stand in the same place: after the family.
std::uint16_t& port_of(addrinfo& at) { return reinterpret_cast<sockaddr_in*>(at.ai_addr)->sin_port; }
void set_port(addrinfo& at, int fd) {
  sockaddr_storage now{};
  socklen_t size = sizeof now;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&now), &size) != 0) return;
  port_of(at) = reinterpret_cast<const sockaddr_in&>(now).sin_port;
}

Result<std::vector<Listener>> try_each(addrinfo* found, bool any_port, std::string_view address) {
  std::vector<Listener> listeners;
  std::vector<Error> lacking;
  std::vector<std::string_view> tried;  // /etc/hosts may have a line twice
  for (auto* at = found; at; at = at->ai_next) {
    const std::string_view bytes(reinterpret_cast<const char*>(at->ai_addr), at->ai_addrlen);
    if (std::ranges::find(tried, bytes) != tried.end()) continue;
    tried.push_back(bytes);
    if (any_port && !listeners.empty()) set_port(*at, listeners[0].fd.get());
    const auto here = text_of(at->ai_addr, at->ai_addrlen);
    auto listener = one(bound(*at), here == address ? here : fmt::format("{} ({})", address, here));
    if (listener) listeners.push_back(std::move(listener->front()));
    // At an address that another program has, who asks would get that program's numbers. What else cannot be had (this
    // machine does not have it, the kernel has no such addresses, it is one of a link and names none) nobody can ask
    // at.
    else if (listener.error().err == EADDRINUSE || listener.error().err == EACCES) return listener;
    else lacking.push_back(listener.error());
  }
  if (listeners.empty())
    return fail(lacking.empty() ? cannot_listen(address, from_errno("bind", EADDRNOTAVAIL)) : lacking[0]);
  for (const auto& problem : lacking)
    log::warn("one of several addresses cannot be had", {{"listening", listeners[0].address}, {"err", problem.text}});
  return listeners;
}

}  // namespace

Result<> check_address(std::string_view address) {
  if (auto place = place_of(address); !place) return fail(std::move(place.error()));
  return {};
}

Result<std::vector<Listener>> listen_on(std::string_view address) {
  auto place = place_of(address);
  if (!place) return fail(std::move(place.error()));
  if (place->vsock)
    return one(bound(info_of(reinterpret_cast<const sockaddr*>(&*place->vsock), sizeof *place->vsock)), address);
  if (!place->found) return listen_on_all(place->port, address);
  return listen_on_each(place->found.get(), address);
}

Result<std::vector<Listener>> listen_on_each(addrinfo* found, std::string_view address) {
  const bool any_port = port_of(*found) == 0;
  for (int tries = any_port ? 10 : 1;; --tries) {
    auto listeners = try_each(found, any_port, address);
    // The port that the kernel chose for the first address may be another program's at the second.
    if (listeners || listeners.error().err != EADDRINUSE || tries == 1) return listeners;
    for (auto* at = found; at; at = at->ai_next) port_of(*at) = 0;
  }
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
