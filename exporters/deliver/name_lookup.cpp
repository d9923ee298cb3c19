// SPDX-License-Identifier: Apache-2.0
#include "exporters/deliver/name_lookup.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "core/clock.h"
#include "core/mutex.h"
#include "core/os/fd.h"

namespace vitald {
namespace {

using Addresses = std::vector<HostAddress>;

constexpr std::int64_t kFreshNs = 60'000'000'000;
// So long the resolver is waited for where what it said before is older: a host that has moved is found where it is,
// and one that is asked for while the resolver is dead costs this once for each question.
constexpr std::int64_t kPatienceNs = 2'000'000'000;
// Hosts are few: what is configured, and callbacks. A resolver that never answers keeps a thread of each.
constexpr std::size_t kMostRunning = 64, kMostKnown = 256;

// One question to the resolver. Readable for all who wait once it is answered.
struct Asked {
  Fd answered{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  Mutex mutex;
  Result<Addresses> result GUARDED_BY(mutex) = Addresses();
};

struct Known {
  std::shared_ptr<Asked> running;
  Addresses addresses;
  std::int64_t since_boot_ns = 0, asked_boot_ns = 0;  // of the addresses, of the question that is running
  bool distrusted = false;
};

struct Book {
  Mutex mutex;
  std::map<std::string, Known> hosts GUARDED_BY(mutex);
};
// Never destroyed: a thread that is in the resolver outlives everything.
Book& book() {
  static auto* the_one = new Book;
  return *the_one;
}

// libcurl has it too where it can be had. The C library's AI_IDN would want UTF-8 as the locale, which is C.
struct Idn {
  int (*to_ascii)(const std::uint8_t*, std::uint8_t**, int) = nullptr;
  void (*release)(void*) = nullptr;
};
Idn open_idn() {
  Idn out;
  void* library = dlopen("libidn2.so.0", RTLD_NOW | RTLD_LOCAL);
  if (!library) return out;
  out.to_ascii = reinterpret_cast<decltype(out.to_ascii)>(dlsym(library, "idn2_lookup_u8"));
  out.release = reinterpret_cast<decltype(out.release)>(dlsym(library, "idn2_free"));
  return out;
}

Result<Addresses> ask(const std::string& host, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;  // one row for each address
  hints.ai_flags = flags;
  addrinfo* all = nullptr;
  if (const int error = getaddrinfo(host.c_str(), nullptr, &hints, &all); error != 0) {
    const bool certain = error == EAI_NONAME || error == EAI_NODATA;
    return fail(certain ? Errc::absent : Errc::io, fmt::format("{}: {}", host, gai_strerror(error)));
  }
  const Handle<addrinfo, &freeaddrinfo> found(all);
  Addresses out;
  for (const auto* at = all; at != nullptr; at = at->ai_next) {
    if (at->ai_addrlen > sizeof(sockaddr_storage)) continue;
    auto& address = out.emplace_back();
    std::memcpy(&address.address, at->ai_addr, at->ai_addrlen);
    address.size = at->ai_addrlen;
  }
  if (out.empty()) return fail(Errc::absent, fmt::format("{}: no address", host));
  return out;
}

void note(const std::string& host, const Result<Addresses>& result) {
  auto& all = book();
  const MutexLock lock(all.mutex);
  auto& known = all.hosts[host];
  known.running.reset();
  if (!result) {
    if (result.error().kind == Errc::absent) known.addresses.clear();  // else what it said before may still be right
    return;
  }
  known.addresses = *result;
  known.since_boot_ns = SystemClock::read(CLOCK_BOOTTIME);
  known.distrusted = false;
}

// The thread has nothing of ours but what it shares.
void run(const std::string& host, const std::shared_ptr<Asked>& asked) {
  pthread_setname_np(pthread_self(), "resolver");
  Result<Addresses> result;
  try {
    const auto name = ascii_host(host);
    result = name ? ask(*name, AI_ADDRCONFIG) : Result<Addresses>(fail(name.error()));
    note(host, result);
  } catch (const std::bad_alloc&) {
    result = fail(Errc::io, "out of memory");
    const MutexLock lock(book().mutex);
    if (const auto at = book().hosts.find(host); at != book().hosts.end()) at->second.running.reset();
  }
  {
    const MutexLock lock(asked->mutex);
    asked->result = std::move(result);
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(asked->answered.get(), &one, sizeof one);
}

// With the book's lock.
Result<std::shared_ptr<Asked>> begin(const std::string& host, std::map<std::string, Known>& hosts) {
  if (static_cast<std::size_t>(
          std::ranges::count_if(hosts, [](const auto& h) { return h.second.running != nullptr; })) >= kMostRunning)
    return fail(Errc::timeout, fmt::format("{}: {} names wait for the resolver already", host, kMostRunning));
  if (hosts.size() >= kMostKnown) std::erase_if(hosts, [](const auto& h) { return !h.second.running; });
  auto asked = std::make_shared<Asked>();
  if (!asked->answered) return fail(from_errno(fmt::format("{}: looking it up", host), errno));
  hosts[host].running = asked;
  hosts[host].asked_boot_ns = SystemClock::read(CLOCK_BOOTTIME);
  try {
    std::thread([host, asked] { run(host, asked); }).detach();
  } catch (const std::system_error& e) {
    hosts[host].running.reset();
    return fail(Errc::io, fmt::format("{}: no thread to look it up: {}", host, e.what()));
  }
  return asked;
}

// What came of it; nothing: not before then.
std::optional<Result<Addresses>> wait(Asked& asked, std::int64_t until_boot_ns, int stop_fd, bool& stopped) {
  for (;;) {
    const auto left_ms = (until_boot_ns - SystemClock::read(CLOCK_BOOTTIME) + 999'999) / 1'000'000;
    if (left_ms <= 0) return std::nullopt;
    pollfd waits[] = {{asked.answered.get(), POLLIN, 0}, {stop_fd, POLLIN, 0}};
    if (poll(waits, 2, static_cast<int>(std::min<std::int64_t>(left_ms, 60'000))) < 0 && errno != EINTR)
      return Result<Addresses>(fail(from_errno("poll", errno)));
    if (waits[0].revents != 0) {
      const MutexLock lock(asked.mutex);
      return asked.result;
    }
    if (waits[1].revents != 0) {
      stopped = true;
      return std::nullopt;
    }
  }
}

}  // namespace

void HostAddress::set_port(std::uint16_t port) {
  if (address.ss_family == AF_INET6) reinterpret_cast<sockaddr_in6*>(&address)->sin6_port = htons(port);
  else reinterpret_cast<sockaddr_in*>(&address)->sin_port = htons(port);
}

std::string HostAddress::text() const {
  char host[NI_MAXHOST] = "";
  if (getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host, sizeof host, nullptr, 0, NI_NUMERICHOST) !=
      0)
    return {};
  return host;
}

bool is_address(const std::string& host) { return ask(host, AI_NUMERICHOST).has_value(); }

Result<std::string> ascii_host(const std::string& host) {
  if (std::ranges::all_of(host, [](char c) { return static_cast<unsigned char>(c) < 0x80; })) return host;
  static const auto idn = open_idn();
  if (!idn.to_ascii || !idn.release) return fail(Errc::io, host + ": only with libidn2, install libidn2-0");
  std::uint8_t* name = nullptr;
  if (idn.to_ascii(reinterpret_cast<const std::uint8_t*>(host.c_str()), &name, 0) != 0 || name == nullptr)
    return fail(Errc::absent, host + ": no name of a host");
  std::string out(reinterpret_cast<const char*>(name));
  idn.release(name);
  return out;
}

Result<Addresses> look_up(const std::string& host, const Attempt& attempt) {
  if (auto numeric = ask(host, AI_NUMERICHOST)) return numeric;  // asks nobody
  auto until_ns = attempt.deadline_boot_ns;
  const auto now_ns = SystemClock::read(CLOCK_BOOTTIME);
  std::shared_ptr<Asked> asked;
  Addresses before;
  {
    auto& all = book();
    const MutexLock lock(all.mutex);
    if (const auto at = all.hosts.find(host); at != all.hosts.end()) {
      const auto& known = at->second;
      before = known.addresses;
      asked = known.running;
      const bool fresh = now_ns - known.since_boot_ns < kFreshNs;
      if (!before.empty() && !known.distrusted && fresh) return before;
      if (!before.empty()) {
        until_ns = now_ns + (until_ns - now_ns) / 2;
        if (!known.distrusted) until_ns = std::min(until_ns, (asked ? known.asked_boot_ns : now_ns) + kPatienceNs);
      }
    }
    if (!asked) {
      auto begun = begin(host, all.hosts);
      if (!begun && before.empty()) return fail(begun.error());
      if (begun) asked = std::move(*begun);
    }
  }
  bool stopped = false;
  auto found = asked ? wait(*asked, until_ns, attempt.stop_fd, stopped) : std::nullopt;
  if (stopped) return fail(Errc::gone, "stopped");
  if (found && (*found || found->error().kind == Errc::absent)) return *found;
  if (!before.empty()) return before;
  if (found) return *found;
  return fail(Errc::timeout, fmt::format("{}: the resolver does not say where it is", host));
}

void age(const std::string& host, std::int64_t ns) {
  auto& all = book();
  const MutexLock lock(all.mutex);
  if (const auto at = all.hosts.find(host); at != all.hosts.end()) {
    at->second.since_boot_ns -= ns;
    at->second.asked_boot_ns -= ns;
  }
}

void distrust(const std::string& host) {
  auto& all = book();
  const MutexLock lock(all.mutex);
  if (const auto at = all.hosts.find(host); at != all.hosts.end()) at->second.distrusted = true;
}

}  // namespace vitald
