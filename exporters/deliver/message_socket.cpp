// SPDX-License-Identifier: Apache-2.0
#include "exporters/deliver/message_socket.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/clock.h"
#include "core/os/fd.h"
#include "core/text/scan.h"
#include "exporters/deliver/name_lookup.h"

namespace vitald {
namespace {

// A datagram is at most about 200 KiB; labels and annotations of people's rules are far below.
constexpr std::size_t kMostValue = 16 * 1024, kMostMessage = 128 * 1024;

using Kind = MessageAddress::Kind;

std::string text_of(const MessageAddress& a) {
  if (a.kind == Kind::local) return a.path;
  return fmt::format("{}://{}:{}", a.kind == Kind::udp ? "udp" : "tcp", a.host, a.port);
}

// True: the descriptor is ready. False: vitald ends, or it takes too long.
bool wait_for(int fd, short events, const Attempt& attempt) {
  for (;;) {
    pollfd waits[] = {{fd, events, 0}, {attempt.stop_fd, POLLIN, 0}};
    const auto left_ms = (attempt.deadline_boot_ns - SystemClock::read(CLOCK_BOOTTIME)) / 1'000'000;
    if (left_ms <= 0) return false;
    if (poll(waits, 2, static_cast<int>(std::min<std::int64_t>(left_ms, 60'000))) < 0 && errno != EINTR) return false;
    if (waits[1].revents != 0) return false;
    if (waits[0].revents != 0) return true;
  }
}

Result<Fd> connect_local(const std::string& path) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (path.size() >= sizeof to.sun_path) return fail(Errc::malformed, path + ": too long for a socket's path");
  std::memcpy(to.sun_path, path.c_str(), path.size() + 1);
  Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(from_errno("socket", errno));
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return fail(from_errno(path, errno));
  return fd;
}

Result<Fd> connect_remote(const MessageAddress& a, const Attempt& attempt) {
  auto found = look_up(a.host, attempt);
  if (!found) return fail(found.error().kind, fmt::format("{}: {}", text_of(a), found.error().text));
  const int type = a.kind == Kind::udp ? SOCK_DGRAM : SOCK_STREAM;
  const auto port = static_cast<std::uint16_t>(parse_u64(a.port).value_or(0));
  int problem = ECONNREFUSED;
  for (auto& at : *found) {
    at.set_port(port);
    Fd fd(::socket(at.address.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) {
      problem = errno;
      continue;
    }
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&at.address), at.size) == 0) return fd;
    problem = errno;
    if (problem != EINPROGRESS) continue;
    problem = ETIMEDOUT;
    if (!wait_for(fd.get(), POLLOUT, attempt)) continue;
    socklen_t size = sizeof problem;
    if (getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &problem, &size) == 0 && problem == 0) return fd;
  }
  distrust(a.host);
  return fail(from_errno(text_of(a), problem));
}

Result<Fd> connected(const MessageAddress& a, const Attempt& attempt) {
  return a.kind == Kind::local ? connect_local(a.path) : connect_remote(a, attempt);
}

class MessageDestination final : public Destination {
 public:
  MessageDestination(MessageAddress address, std::string begins)
      : address_(std::move(address)), begins_(std::move(begins)) {}

  Result<Sent> send(std::span<const Item> items, const Attempt& attempt) override {
    Sent sent;
    for (const auto& item : items) {
      if (!item.body.starts_with(begins_)) {
        ++sent.taken, ++sent.refused;
        continue;
      }
      if (auto gone = send_one(item.body, attempt); !gone) {
        socket_.reset();
        if (sent.taken > 0) return sent;
        return fail(gone.error());
      }
      ++sent.taken;
    }
    return sent;
  }

 private:
  Result<> send_one(const std::string& body, const Attempt& attempt) {
    const bool stream = address_.kind == Kind::tcp;
    // Whoever starts anew has another socket of the same name; who hung up on us does not take what we write.
    if (address_.kind == Kind::local || (stream && hung_up())) socket_.reset();
    if (!socket_) {
      auto fresh = connected(address_, attempt);
      if (!fresh) return fail(fresh.error());
      socket_ = std::move(*fresh);
    }
    const auto message = stream ? fmt::format("{} {}", body.size(), body) : body;
    std::size_t done = 0;
    while (done < message.size()) {
      const auto n = ::send(socket_.get(), message.data() + done, message.size() - done, MSG_NOSIGNAL);
      if (n >= 0) {
        done += static_cast<std::size_t>(n);
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        if (!wait_for(socket_.get(), POLLOUT, attempt)) return fail(Errc::io, text_of(address_) + ": it takes nothing");
      } else if (errno != EINTR) {
        return fail(from_errno(text_of(address_), errno));
      }
    }
    return {};
  }

  [[nodiscard]] bool hung_up() const {
    if (!socket_) return true;
    char byte{};
    const auto n = recv(socket_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
  }

  const MessageAddress address_;
  const std::string begins_;
  Fd socket_;
};

}  // namespace

Result<MessageAddress> message_address(std::string_view text) {
  MessageAddress out;
  if (text.starts_with('/')) {
    if (text.size() >= sizeof(sockaddr_un::sun_path))
      return fail(Errc::malformed, fmt::format("more than {} bytes", sizeof(sockaddr_un::sun_path) - 1));
    out.path = text;
    return out;
  }
  auto rest = text;
  if (take_prefix(rest, "udp://")) out.kind = Kind::udp, out.port = "514";
  else if (take_prefix(rest, "tcp://")) out.kind = Kind::tcp, out.port = "601";
  else
    return fail(Errc::malformed,
                fmt::format("'{}' found, expected e.g. /dev/log, udp://HOST:514 or tcp://HOST:601", text));
  const bool in_brackets = rest.starts_with('[') && rest.find(']') != rest.npos;
  const auto host_end = in_brackets ? rest.find(']') + 1 : std::min(rest.find(':'), rest.size());
  out.host = in_brackets ? rest.substr(1, host_end - 2) : rest.substr(0, host_end);
  rest.remove_prefix(host_end);
  if (take_prefix(rest, ":")) {
    const auto port = parse_u64(rest);
    if (!port || *port < 1 || *port > 65535) return fail(Errc::malformed, fmt::format("'{}' is no port", rest));
    out.port = rest;
    rest = {};
  }
  if (out.host.empty() || !rest.empty()) return fail(Errc::malformed, fmt::format("'{}' names no host and port", text));
  return out;
}

std::unique_ptr<Destination> message_destination(MessageAddress address, std::string begins) {
  return std::make_unique<MessageDestination>(std::move(address), std::move(begins));
}

Result<std::string> message_reach(const MessageAddress& address, const Attempt& attempt) {
  const auto socket = connected(address, attempt);
  if (!socket) return fail(socket.error());
  return fmt::format(
      "{} {}", text_of(address),
      address.kind == Kind::udp ? "can be sent to; UDP says nothing of whether anybody listens" : "is listened at");
}

void append_journal_field(std::string& out, std::string_view name, std::string_view value) {
  value = value.substr(0, kMostValue);
  if (value.empty() || out.size() + name.size() + value.size() > kMostMessage) return;
  out += name;
  if (value.find('\n') == value.npos) {
    out += '=';
  } else {  // text of several lines stands behind its length, 64 bits little endian
    out += '\n';
    for (int shift = 0; shift < 64; shift += 8)
      out += static_cast<char>(static_cast<std::uint64_t>(value.size()) >> shift & 0xff);
  }
  out += value;
  out += '\n';
}

}  // namespace vitald
