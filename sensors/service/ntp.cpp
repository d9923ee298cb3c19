// SPDX-License-Identifier: Apache-2.0
// One question to an NTP server (RFC 5905, client mode, no authentication).
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <span>
#include <string>

#include "core/collector.h"
#include "core/os/fd.h"

namespace vitald {
namespace {

using enum MetricType;
using Nanoseconds = std::int64_t;

constexpr std::string_view kSource = "NTP server";
constexpr MetricDesc kMetrics[] = {
    {"node_ntp_stratum", gauge, "NTPD stratum.", "", "", kSource},
    {"node_ntp_leap", gauge, "NTPD leap second indicator, 2 bits.", "", "", kSource},
    {"node_ntp_rtt_seconds", gauge, "RTT to NTPD.", "", "seconds", kSource},
    {"node_ntp_offset_seconds", gauge, "ClockOffset between NTP and local clock.", "", "seconds", kSource},
    {"node_ntp_reference_timestamp_seconds", gauge, "NTPD ReferenceTime, UNIX timestamp.", "", "seconds", kSource},
    {"node_ntp_root_delay_seconds", gauge, "NTPD RootDelay.", "", "seconds", kSource},
    {"node_ntp_root_dispersion_seconds", gauge, "NTPD RootDispersion.", "", "seconds", kSource},
    {"node_ntp_sanity", gauge, "NTPD sanity according to RFC5905 heuristics and configured limits.", "", "", kSource},
};
enum Metric { kStratum, kLeap, kRtt, kOffset, kReference, kRootDelay, kRootDispersion, kSanity };
constexpr FlagSpec kFlags[] = {
    {"collector.ntp.server", FlagType::text, "127.0.0.1", "NTP server to use for ntp collector"},
    {.name = "collector.ntp.server-port",
     .type = FlagType::number,
     .fallback = "123",
     .help = "UDP port number to connect to on NTP server",
     .least = 1,
     .most = 65535},
    {.name = "collector.ntp.protocol-version",
     .type = FlagType::number,
     .fallback = "4",
     .help = "NTP protocol version",
     .least = 2,
     .most = 4},
    {"collector.ntp.server-is-local", FlagType::boolean, "false",
     "Certify that collector.ntp.server address is not a public ntp server"},
    {.name = "collector.ntp.ip-ttl",
     .type = FlagType::number,
     .fallback = "1",
     .help = "IP TTL to use while sending NTP query",
     .least = 1,
     .most = 255},
    {"collector.ntp.max-distance", FlagType::duration, "3.46608s", "Max accumulated distance to the root"},
    {"collector.ntp.local-offset-tolerance", FlagType::duration, "1ms",
     "Offset between local clock and local ntpd time to tolerate"},
};

constexpr Nanoseconds kSecond = 1'000'000'000, kDay = 86'400 * kSecond;
constexpr Nanoseconds kStale = (1 << 17) * kSecond;   // the longest poll interval, MAXPOLL
constexpr Nanoseconds kMaxDispersion = 16 * kSecond;  // MAXDISP
constexpr std::uint64_t kUnixEpoch = 2'208'988'800;   // seconds from 1900 to 1970
constexpr int kTimeoutMs = 1000;
constexpr std::size_t kPacketSize = 48;
enum Leap { kNoWarning, kAddSecond, kDeleteSecond, kNotInSync };
enum Mode { kClient = 3, kServer = 4 };

// Q32.32 seconds, rounded to nanoseconds.
Nanoseconds duration(std::uint64_t fixed) {
  const auto fraction = (fixed & 0xffff'ffff) * static_cast<std::uint64_t>(kSecond);
  return static_cast<Nanoseconds>(fixed >> 32) * kSecond + static_cast<Nanoseconds>((fraction + (1U << 31)) >> 32);
}
Nanoseconds signed_duration(std::uint64_t difference) {
  const auto n = static_cast<std::int64_t>(difference);
  return n < 0 ? -duration(0 - difference) : duration(difference);
}
// Since 1970. What would be before is of the era that begins in 2036.
Nanoseconds unix_time(std::uint64_t stamp) {
  const auto seconds = stamp >> 32;
  const auto era = seconds < kUnixEpoch ? std::uint64_t{1} << 32 : 0;
  return static_cast<Nanoseconds>(seconds + era - kUnixEpoch) * kSecond + duration(stamp & 0xffff'ffff);
}
std::uint64_t ntp_time(Nanoseconds unix_ns) {
  const auto seconds = static_cast<std::uint64_t>(unix_ns / kSecond) + kUnixEpoch;
  const auto fraction = static_cast<std::uint64_t>(unix_ns % kSecond) << 32;
  return (seconds << 32) + (fraction + static_cast<std::uint64_t>(kSecond) / 2) / static_cast<std::uint64_t>(kSecond);
}
double in_seconds(Nanoseconds n) { return static_cast<double>(n) / 1e9; }

std::uint64_t big_endian(const unsigned char* at, int bytes) {
  std::uint64_t n = 0;
  for (int i = 0; i < bytes; ++i) n = n << 8 | at[i];
  return n;
}

struct Reply {
  unsigned leap = 0, stratum = 0;
  Nanoseconds root_delay = 0, root_dispersion = 0, reference = 0, time = 0, rtt = 0, offset = 0, min_error = 0;

  [[nodiscard]] bool valid() const {
    return stratum > 0 && stratum < 16 && time - reference <= kStale &&
           root_delay / 2 + root_dispersion <= kMaxDispersion && time >= reference && leap != kNotInSync;
  }
  [[nodiscard]] Nanoseconds root_distance() const { return (rtt + root_delay) / 2 + root_dispersion; }
};

struct Settings {
  std::string server, port;
  unsigned version = 4;
  int ttl = 1;
  Nanoseconds max_distance = 0, tolerance = 0;
};

class Ntp final : public Collector {
 public:
  Ntp(const Host& host, Settings settings) : host_(host), settings_(std::move(settings)) {}

  Result<> collect(BatchWriter& out) override {
    const auto asked = ask();
    if (!asked) return fail(asked.error());
    const auto& reply = *asked;
    out.set(kMetrics[kStratum], reply.stratum);
    out.set(kMetrics[kLeap], reply.leap);
    out.set(kMetrics[kRtt], in_seconds(reply.rtt));
    out.set(kMetrics[kOffset], in_seconds(reply.offset));
    out.set(kMetrics[kReference], reply.reference >= kSecond ? in_seconds(reply.reference) : 0);
    out.set(kMetrics[kRootDelay], in_seconds(reply.root_delay));
    out.set(kMetrics[kRootDispersion], in_seconds(reply.root_dispersion));
    out.set(kMetrics[kSanity], sane(reply) ? 1 : 0);
    return {};
  }

 private:
  bool sane(const Reply& reply) {
    // Servers drop the flag right after midnight, and some smear the second over the day around it.
    if (reply.leap == kAddSecond || reply.leap == kDeleteSecond) leap_midnight_ = (reply.time / kDay + 1) * kDay;
    auto tolerance = settings_.tolerance;
    if (reply.time > leap_midnight_ - kDay && reply.time < leap_midnight_ + kDay) tolerance += kSecond;
    return reply.valid() && reply.root_distance() <= settings_.max_distance && reply.min_error <= tolerance;
  }

  [[nodiscard]] std::string where() const {
    return fmt::format("NTP server {} port {}", settings_.server, settings_.port);
  }

  [[nodiscard]] Result<Fd> connect_to() const {
    addrinfo hints{};
    hints.ai_socktype = SOCK_DGRAM;
    addrinfo* list = nullptr;
    if (const int rc = getaddrinfo(settings_.server.c_str(), settings_.port.c_str(), &hints, &list); rc != 0)
      return fail(Errc::io, fmt::format("{}: {}", where(), gai_strerror(rc)));
    const Handle<addrinfo, freeaddrinfo> owner(list);
    Fd fd(socket(list->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!fd) return fail(from_errno(where(), errno));
    const bool v6 = list->ai_family == AF_INET6;
    if (settings_.ttl != 0 && setsockopt(fd.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_UNICAST_HOPS : IP_TTL,
                                         &settings_.ttl, sizeof settings_.ttl) != 0)
      return fail(from_errno(where() + ": IP TTL", errno));
    if (connect(fd.get(), list->ai_addr, list->ai_addrlen) != 0) return fail(from_errno(where(), errno));
    return fd;
  }

  Result<Reply> ask() {
    const auto fd = connect_to();
    if (!fd) return fail(fd.error());
    unsigned char query[kPacketSize] = {};
    query[0] = static_cast<unsigned char>(settings_.version << 3 | kClient);
    query[3] = 0x20;  // no precision
    // The stamp only comes back as an echo: random bytes tell no one our clock and are hard to forge.
    if (getrandom(query + 40, 8, 0) != 8) return fail(from_errno("getrandom", errno));
    const auto sent = host_.clock().wall_ns();
    if (send(fd->get(), query, sizeof query, 0) < 0) return fail(from_errno(where(), errno));
    pollfd ready{fd->get(), POLLIN, 0};
    if (poll(&ready, 1, kTimeoutMs) == 0) return fail(Errc::timeout, where() + ": no answer in 1 s");
    unsigned char answer[512];
    const auto size = recv(fd->get(), answer, sizeof answer, MSG_DONTWAIT);
    if (size < 0) return fail(from_errno(where(), errno));
    const auto received = std::max(host_.clock().wall_ns(), sent);
    return parse(query, {answer, static_cast<std::size_t>(size)}, ntp_time(sent), ntp_time(received));
  }

  [[nodiscard]] Result<Reply> parse(const unsigned char* query, std::span<const unsigned char> answer,
                                    std::uint64_t sent, std::uint64_t received) const {
    const auto wrong = [&](std::string_view what) {
      return fail(Errc::malformed, fmt::format("{}: {}", where(), what));
    };
    if (answer.size() < kPacketSize) return wrong("a reply of less than 48 bytes");
    const auto* p = answer.data();
    const auto their_receive = big_endian(p + 32, 8), their_send = big_endian(p + 40, 8);
    if ((p[0] & 7) != kServer) return wrong("the reply is not in server mode");
    if (their_send == 0) return wrong("the reply has no transmit time");
    if (std::memcmp(p + 24, query + 40, 8) != 0) return wrong("the reply is to another question");
    if (their_receive > their_send) return wrong("the server's clock went backwards");

    Reply reply;
    reply.leap = p[0] >> 6;
    reply.stratum = p[1];
    reply.root_delay = duration(big_endian(p + 4, 4) << 16);
    reply.root_dispersion = duration(big_endian(p + 8, 4) << 16);
    reply.reference = unix_time(big_endian(p + 16, 8));
    reply.time = unix_time(their_send);
    reply.rtt = std::max<Nanoseconds>(signed_duration((received - sent) - (their_send - their_receive)), 0);
    const auto there = static_cast<std::int64_t>(their_receive - sent);
    const auto back = static_cast<std::int64_t>(their_send - received);
    reply.offset = signed_duration(static_cast<std::uint64_t>(std::midpoint(there, back)));
    // Answers that came before their question, or arrived before they were sent: by so much the clocks differ.
    reply.min_error =
        std::max<Nanoseconds>({-signed_duration(their_receive - sent), signed_duration(their_send - received), 0});
    return reply;
  }

  const Host& host_;
  Settings settings_;
  Nanoseconds leap_midnight_ = -2 * kDay;
};

bool is_loopback(const std::string& address) {
  in_addr v4{};
  in6_addr v6{};
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  return inet_pton(AF_INET6, address.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  const std::string server(options.text("collector.ntp.server"));
  if (!options.flag("collector.ntp.server-is-local") && !is_loopback(server))
    return fail(Errc::malformed,
                fmt::format("--collector.ntp.server: '{}' is no loopback address; if the server is yours, say "
                            "--collector.ntp.server-is-local",
                            server));
  return std::make_unique<Ntp>(host, Settings{server, std::string(options.text("collector.ntp.server-port")),
                                              static_cast<unsigned>(options.number("collector.ntp.protocol-version")),
                                              static_cast<int>(options.number("collector.ntp.ip-ttl")),
                                              options.duration_ns("collector.ntp.max-distance"),
                                              options.duration_ns("collector.ntp.local-offset-tolerance")});
}

}  // namespace

extern const CollectorInfo collector_ntp;
const CollectorInfo collector_ntp{kMetrics, kFlags, make};

}  // namespace vitald
