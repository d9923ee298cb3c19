// SPDX-License-Identifier: Apache-2.0
// supervisord's XML-RPC interface: one call over HTTP on TCP or on a UNIX socket.
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <optional>
#include <string>

#include "core/clock.h"
#include "core/collector.h"
#include "core/os/fd.h"
#include "core/text/scan.h"
#include "sensors/read/left_out.h"
#include "sensors/read/xml.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr std::string_view kSource = "supervisor.getAllProcessInfo";
constexpr MetricDesc kState{"node_supervisord_state", gauge, "Process State", "name,group", "", kSource};
constexpr MetricDesc kExit{"node_supervisord_exit_status", gauge, "Process Exit Status", "name,group", "", kSource};
constexpr MetricDesc kUp{"node_supervisord_up", gauge, "Process Up", "name,group", "", kSource};
constexpr MetricDesc kStart{
    "node_supervisord_start_time_seconds", counter, "Process start time", "name,group", "seconds", kSource};
constexpr MetricDesc kMetrics[] = {kState, kExit, kUp, kStart};
constexpr std::string_view kUrl = "http://localhost:9001/RPC2";
constexpr FlagSpec kFlags[] = {
    {"collector.supervisord.url", FlagType::text, kUrl,
     "XML RPC endpoint. Default: $SUPERVISORD_URL, or http://localhost:9001/RPC2"},
};
constexpr std::int64_t kPatienceNs = 10'000'000'000;
constexpr std::size_t kMaxReply = 16 << 20;

struct Endpoint {
  std::string url, host, port, path, user;  // user: "name:password"
  bool unix_socket = false;
};

// "http://user:password@host:9001/RPC2", "http://[::1]:9001/RPC2", "unix:///run/supervisor.sock"
Result<Endpoint> parse_url(std::string_view url) {
  Endpoint e{std::string(url), {}, "80", "/RPC2", {}, false};
  auto rest = url;
  if (take_prefix(rest, "unix:")) {
    take_prefix(rest, "//");
    if (rest.empty() || rest.size() >= sizeof(sockaddr_un::sun_path))
      return fail(Errc::malformed,
                  fmt::format("--collector.supervisord.url: '{}': a path of 1 to 107 bytes expected", url));
    e.unix_socket = true;
    e.host = rest;
    return e;
  }
  if (!take_prefix(rest, "http://"))
    return fail(
        Errc::malformed,
        fmt::format("--collector.supervisord.url: '{}': http:// or unix:// expected (supervisord has no TLS)", url));
  auto authority = rest.substr(0, rest.find('/'));
  rest.remove_prefix(authority.size());
  if (!rest.empty()) e.path = rest;
  if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
    e.user = authority.substr(0, at);
    authority.remove_prefix(at + 1);
    e.url = fmt::format("http://{}{}", authority, e.path);  // what is logged has no password
  }
  if (const auto colon = authority.rfind(':'); colon != std::string_view::npos && authority.back() != ']') {
    e.port = authority.substr(colon + 1);
    authority = authority.substr(0, colon);
  }
  if (authority.starts_with('[') && authority.ends_with(']')) authority = authority.substr(1, authority.size() - 2);
  e.host = authority;
  return e;
}

std::string base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (unsigned j = 0; j < 4; ++j) out += i + j > bytes.size() ? '=' : kDigits[group >> (18 - 6 * j) & 63];
  }
  return out;
}

class Connection {
 public:
  explicit Connection(const Endpoint& to) : to_(to), deadline_(SystemClock::read(CLOCK_BOOTTIME) + kPatienceNs) {}

  // The body of the answer to a POST.
  Result<std::string> post(std::string_view body) {
    if (auto opened = open(); !opened) return fail(opened.error());
    // HTTP/1.0: the answer ends with the connection and comes in one piece.
    auto request = fmt::format(
        "POST {} HTTP/1.0\r\nHost: {}\r\nUser-Agent: vitald/{}\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n",
        to_.path, to_.unix_socket ? "localhost" : to_.host, VITALD_VERSION, body.size());
    if (!to_.user.empty()) request += fmt::format("Authorization: Basic {}\r\n", base64(to_.user));
    request.append("\r\n").append(body);
    if (auto sent = send_all(request); !sent) return fail(sent.error());
    auto answer = receive_all();
    if (!answer) return answer;
    std::string_view text = *answer;
    auto status = take_line(text);
    const auto line = trim(status);
    take_word(status);
    if (take_word(status) != "200") return fail(Errc::io, fmt::format("{}: '{}'", to_.url, line));
    const auto end = answer->find("\r\n\r\n");
    if (end == std::string::npos) return fail(Errc::malformed, to_.url + ": an HTTP answer without a body");
    return answer->substr(end + 4);
  }

 private:
  Result<> open() {
    if (to_.unix_socket) {
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      std::memcpy(address.sun_path, to_.host.data(), to_.host.size());
      return connect_to(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    }
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    if (const int rc = getaddrinfo(to_.host.c_str(), to_.port.c_str(), &hints, &list); rc != 0)
      return fail(Errc::io, fmt::format("{}: {}", to_.url, gai_strerror(rc)));
    const Handle<addrinfo, freeaddrinfo> owner(list);
    Result<> last;
    for (const auto* a = list; a; a = a->ai_next)  // localhost is ::1 too, where supervisord does not listen
      if (last = connect_to(a->ai_family, a->ai_addr, a->ai_addrlen); last) break;
    return last;
  }
  Result<> connect_to(int family, const sockaddr* address, socklen_t size) {
    fd_.reset(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd_) return fail(from_errno(to_.url, errno));
    if (connect(fd_.get(), address, size) == 0) return {};
    if (errno != EINPROGRESS) return fail(from_errno(to_.url, errno));
    if (auto ready = wait(POLLOUT); !ready) return ready;
    int err = 0;
    socklen_t length = sizeof err;
    getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &err, &length);
    if (err != 0) return fail(from_errno(to_.url, err));
    return {};
  }
  Result<> wait(short events) {
    const auto left = deadline_ - SystemClock::read(CLOCK_BOOTTIME);
    pollfd ready{fd_.get(), events, 0};
    if (left > 0 && poll(&ready, 1, static_cast<int>(left / 1'000'000) + 1) > 0) return {};
    return fail(Errc::timeout, to_.url + ": no answer in 10 s");
  }
  Result<> send_all(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n >= 0) {
        bytes.remove_prefix(static_cast<std::size_t>(n));
      } else if (errno != EAGAIN) {
        return fail(from_errno(to_.url, errno));
      } else if (auto ready = wait(POLLOUT); !ready) {
        return ready;
      }
    }
    return {};
  }
  Result<std::string> receive_all() {
    std::string all;
    char part[16384];
    for (;;) {
      const auto n = recv(fd_.get(), part, sizeof part, 0);
      if (n == 0) return all;
      if (n > 0) {
        all.append(part, static_cast<std::size_t>(n));
        if (all.size() > kMaxReply) return fail(Errc::malformed, to_.url + ": an answer of more than 16 MiB");
      } else if (errno != EAGAIN) {
        return fail(from_errno(to_.url, errno));
      } else if (auto ready = wait(POLLIN); !ready) {
        return fail(ready.error());
      }
    }
  }

  const Endpoint& to_;
  std::int64_t deadline_;
  Fd fd_;
};

struct Process {
  std::string name, group;
  std::optional<std::int64_t> state, exit_status, start;
};

// <member><name>state</name><value><int>20</int></value></member> within a <struct> per process. Calls
// each(process) at every end of a struct. False: a fault, or no answer to a call.
Result<bool> parse_processes(std::string_view xml, const std::function<void(const Process&)>& each) {
  Process process;
  std::string member, value;
  bool answer = false, fault = false;
  const auto open = [&](std::string_view name, const XmlAttributes&) {
    answer = answer || name == "methodResponse";
    fault = fault || name == "fault";
    if (name == "struct") process = {};
    else if (name == "value") value.clear();
  };
  const auto close = [&](std::string_view name, std::string_view text) {
    if (fault) return;
    if (name == "name") {
      member = text;
    } else if (name == "string" || name == "int" || name == "i4") {
      value = text;
    } else if (name == "value") {
      if (value.empty()) value = text;  // a string may go without <string>
      const auto number = parse_i64(value);
      if (member == "name") process.name = value;
      else if (member == "group") process.group = value;
      else if (member == "state") process.state = number;
      else if (member == "exitstatus") process.exit_status = number;
      else if (member == "start") process.start = number;
      member.clear();
    } else if (name == "struct") {
      each(process);
    }
  };
  if (const auto read = walk_xml(xml, {.open = open, .close = close}); !read) return fail(read.error());
  return answer && !fault;
}

class Supervisord final : public Collector {
 public:
  explicit Supervisord(Endpoint endpoint) : endpoint_(std::move(endpoint)) {}

  Result<> collect(BatchWriter& out) override {
    const auto answer = Connection(endpoint_).post(
        "<?xml version=\"1.0\"?><methodCall><methodName>supervisor.getAllProcessInfo</methodName></methodCall>");
    if (!answer) return fail(answer.error());
    LeftOut left_out;
    const auto whole = parse_processes(*answer, [&](const Process& p) {
      enum { kStarting = 10, kRunning = 20, kStopping = 40 };  // the states with a process
      if (p.name.empty() || !p.state) {
        left_out.add(
            Error{Errc::malformed, 0, fmt::format("{}: '{}': a name and a state expected", endpoint_.url, p.name)});
        return;
      }
      const bool up = p.state == kStarting || p.state == kRunning || p.state == kStopping;
      out.set(kState, static_cast<double>(*p.state), p.name, p.group);
      if (p.exit_status) out.set(kExit, static_cast<double>(*p.exit_status), p.name, p.group);
      out.set(kUp, up ? 1 : 0, p.name, p.group);
      if (up && p.start) out.set(kStart, static_cast<double>(*p.start), p.name, p.group);
    });
    if (!whole || !*whole)
      return fail(Errc::malformed, fmt::format("{}: no list of processes{}{}: '{:.200}'", endpoint_.url,
                                               whole ? "" : ": ", whole ? "" : whole.error().text, *answer));
    return left_out.outcome();
  }

 private:
  Endpoint endpoint_;
};

Result<std::unique_ptr<Collector>> make(const Host&, const Options& options) {
  std::string_view url = options.text("collector.supervisord.url");
  if (const char* from_environment = std::getenv("SUPERVISORD_URL");
      from_environment && !options.given("collector.supervisord.url"))
    url = from_environment;
  auto endpoint = parse_url(url);
  if (!endpoint) return fail(endpoint.error());
  return std::make_unique<Supervisord>(std::move(*endpoint));
}

}  // namespace

extern const CollectorInfo collector_supervisord;
const CollectorInfo collector_supervisord{kMetrics, kFlags, make};

}  // namespace vitald
