// SPDX-License-Identifier: Apache-2.0
// Names that are looked up while the resolver is silent: the C library's function is in its place here and says what
// the test wants, when it wants.
#include "exporters/deliver/name_lookup.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <unistd.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>

#include "core/clock.h"
#include "core/os/fd.h"
#include "exporters/deliver/http.h"
#include "exporters/deliver/message_socket.h"

namespace {

// Not destroyed: a thread that nobody answers waits there when the test ends.
auto& mutex = *new std::mutex;
auto& said = *new std::condition_variable;
auto& answers = *new std::map<std::string, std::string>;  // by host; without one nobody answers
auto& asked = *new std::map<std::string, int>;

void answer(const std::string& host, const std::string& address) {
  const std::lock_guard lock(mutex);
  answers[host] = address;
  said.notify_all();
}
int times_asked(const std::string& host) {
  const std::lock_guard lock(mutex);
  return asked[host];
}

}  // namespace

extern "C" {
int __real_getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** found);
int __wrap_getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** found) {
  const std::string name(host ? host : "");
  if (!name.ends_with(".example") || (hints->ai_flags & AI_NUMERICHOST) != 0)
    return __real_getaddrinfo(host, service, hints, found);
  std::unique_lock lock(mutex);
  ++asked[name];
  said.wait(lock, [&] { return answers.contains(name); });
  if (answers[name].empty()) return EAI_NONAME;
  if (answers[name] == "again") return EAI_AGAIN;
  addrinfo numeric = *hints;
  numeric.ai_flags = AI_NUMERICHOST;
  std::istringstream words(answers[name]);
  auto** end = found;
  for (std::string word; words >> word; end = &(*end)->ai_next)
    if (const int error = __real_getaddrinfo(word.c_str(), service, &numeric, end); error != 0) return error;
  return 0;
}
}

namespace vitald {
namespace {

constexpr std::int64_t kMs = 1'000'000;

Attempt within(std::int64_t ms, int stop_fd = -1) { return {SystemClock::read(CLOCK_BOOTTIME) + ms * kMs, stop_fd}; }

std::string text_of(const Result<std::vector<HostAddress>>& found) {
  if (!found) return fmt::format("{}: {}", to_string(found.error().kind), found.error().text);
  std::string out;
  for (const auto& a : *found) out += a.text() + ' ';
  return out;
}

// How long it took, in ms.
template <class F>
std::int64_t timed(const F& f) {
  const auto begin = SystemClock::read(CLOCK_BOOTTIME);
  f();
  return (SystemClock::read(CLOCK_BOOTTIME) - begin) / kMs;
}

TEST(NameLookup, AddressesAskNobody) {
  EXPECT_EQ(text_of(look_up("127.0.0.1", within(1))), "127.0.0.1 ");
  EXPECT_EQ(text_of(look_up("::1", within(1))), "::1 ");
  EXPECT_EQ(asked.size(), 0U);
}

TEST(NameLookup, ASilentResolverIsLeft) {
  const std::string host = "silent.example";
  for (int i = 0; i < 3; ++i) {
    const auto took = timed([&] {
      EXPECT_EQ(text_of(look_up(host, within(100))), "timeout: silent.example: the resolver does not say where it is");
    });
    EXPECT_GE(took, 95);
    EXPECT_LT(took, 1500);
  }
  EXPECT_EQ(times_asked(host), 1);  // one thread, whoever waits
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::thread stop([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ASSERT_EQ(write(ends[1], "x", 1), 1);
  });
  EXPECT_LT(timed([&] { EXPECT_EQ(text_of(look_up(host, within(20'000, ends[0]))), "gone: stopped"); }), 5000);
  stop.join();
  // It answers after all: whoever asks next has it at once, and then it is not asked again.
  answer(host, "192.0.2.7");
  EXPECT_EQ(text_of(look_up(host, within(5000))), "192.0.2.7 ");
  EXPECT_EQ(text_of(look_up(host, within(5000))), "192.0.2.7 ");
  EXPECT_EQ(times_asked(host), 1);
}

TEST(NameLookup, NoSuchHost) {
  answer("nobody.example", "");
  EXPECT_EQ(text_of(look_up("nobody.example", within(5000))), "absent: nobody.example: Name or service not known");
  answer("nobody.example", "192.0.2.8");
  EXPECT_EQ(text_of(look_up("nobody.example", within(5000))), "192.0.2.8 ");
}

TEST(NameLookup, WhatIsKnownIsUsedWhileTheResolverIsSilent) {
  const std::string host = "moved.example";
  answer(host, "192.0.2.1");
  EXPECT_EQ(text_of(look_up(host, within(5000))), "192.0.2.1 ");
  {
    const std::lock_guard lock(mutex);
    answers.erase(host);
  }
  distrust(host);
  // Half of the time is for the resolver, the other half for the address there was.
  const auto took = timed([&] { EXPECT_EQ(text_of(look_up(host, within(400))), "192.0.2.1 "); });
  EXPECT_GE(took, 195);
  EXPECT_LT(took, 1500);
  answer(host, "192.0.2.2");
  EXPECT_EQ(text_of(look_up(host, within(5000))), "192.0.2.2 ");
}

TEST(NameLookup, WhatIsOldIsNotUsedWhereTheResolverAnswers) {
  const std::string host = "quiet.example";
  constexpr std::int64_t kMinuteMs = 60'000;
  answer(host, "192.0.2.1");
  EXPECT_EQ(text_of(look_up(host, within(5000))), "192.0.2.1 ");
  answer(host, "192.0.2.2");
  EXPECT_EQ(text_of(look_up(host, within(5000))), "192.0.2.1 ") << "within a minute nobody is asked";
  age(host, kMinuteMs * kMs);
  EXPECT_EQ(text_of(look_up(host, within(60'000))), "192.0.2.2 ");
  // Where it is silent, some time is for it, once for each question.
  age(host, kMinuteMs * kMs);
  {
    const std::lock_guard lock(mutex);
    answers.erase(host);
  }
  EXPECT_GE(timed([&] { EXPECT_EQ(text_of(look_up(host, within(200))), "192.0.2.2 "); }), 95);
  age(host, 2000 * kMs);
  EXPECT_LT(timed([&] { EXPECT_EQ(text_of(look_up(host, within(60'000))), "192.0.2.2 "); }), 1500);
  EXPECT_EQ(times_asked(host), 3);
}

TEST(NameLookup, AHostThatIsNoLongerThereIsForgotten) {
  const std::string host = "left.example";
  answer(host, "192.0.2.1");
  EXPECT_EQ(text_of(look_up(host, within(5000))), "192.0.2.1 ");
  // The resolver's own trouble says nothing of the host.
  answer(host, "again");
  distrust(host);
  EXPECT_EQ(text_of(look_up(host, within(5000))), "192.0.2.1 ");
  answer(host, "");
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(text_of(look_up(host, within(5000))), "absent: left.example: Name or service not known");
  answer(host, "again");
  EXPECT_EQ(text_of(look_up(host, within(5000))), "io: left.example: Temporary failure in name resolution");
}

TEST(NameLookup, NamesInOtherLetters) {
  answer("xn--bcher-kva.example", "192.0.2.9");
  if (const auto name = ascii_host("Bücher.example"); !name && name.error().kind == Errc::io)
    GTEST_SKIP() << name.error().text;
  EXPECT_EQ(text_of(look_up("Bücher.example", within(5000))), "192.0.2.9 ");
  EXPECT_FALSE(ascii_host("\xff.example"));
}

// Answers 204 at port() of the loopback, IPv4 and IPv6 alike.
class Server {
 public:
  Server() : fd_(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int off = 0;
    sockaddr_in6 at{};
    at.sin6_family = AF_INET6;
    socklen_t size = sizeof at;
    ok_ = setsockopt(fd_.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0 &&
          bind(fd_.get(), reinterpret_cast<const sockaddr*>(&at), size) == 0 && listen(fd_.get(), 8) == 0 &&
          getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&at), &size) == 0;
    port_ = ntohs(at.sin6_port);
    if (ok_) thread_ = std::thread([this] { serve(); });
  }
  ~Server() {
    shutdown(fd_.get(), SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] int port() const { return port_; }

 private:
  void serve() {
    for (;;) {
      const Fd one(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!one) return;
      char text[4096];
      constexpr std::string_view kAnswer = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
      if (recv(one.get(), text, sizeof text, 0) > 0) send(one.get(), kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL);
    }
  }

  Fd fd_;
  int port_ = 0;
  bool ok_ = false;
  std::thread thread_;
};

TEST(NameLookup, HttpGoesToWhateverAHostMayBe) {
  Server server;
  if (!server.ok()) GTEST_SKIP() << "no IPv6 here";
  answer("two.example", "fe80::1%lo 127.0.0.1");
  answer("six.example", "::1 127.0.0.1");
  answer("xn--bcher-kva.example", "127.0.0.1");
  for (const auto* host : {"127.0.0.1", "[::1]", "[0:0:0:0:0:0:0:1]", "[::1%251]", "[::1%1]", "two.example",
                           "six.example", "b\u00fccher.example"}) {
    SCOPED_TRACE(host);
    const auto url = fmt::format("http://{}:{}", host, server.port());
    if (!ascii_host(host)) continue;  // no libidn2
    distrust("xn--bcher-kva.example");
    HttpClient client;
    const auto answered = client.send({"GET", url + "/x", {}, {}}, {}, within(5000));
    EXPECT_TRUE(answered) << answered.error().text;
    EXPECT_TRUE(!answered || answered->status == 204);
    HttpAccess by_proxy;
    by_proxy.proxy = url;
    const auto passed_on = client.send({"GET", "http://elsewhere.invalid/x", {}, {}}, by_proxy, within(5000));
    EXPECT_TRUE(passed_on) << passed_on.error().text;
  }
}

TEST(NameLookup, DestinationsKeepTheirDeadline) {
  const auto udp = message_destination({MessageAddress::Kind::udp, "", "log.example", "514"}, "");
  const Item item{1, "k", "body"};
  for (int i = 0; i < 2; ++i) {
    const auto took = timed([&] {
      const auto sent = udp->send({&item, 1}, within(100));
      ASSERT_FALSE(sent);
      EXPECT_EQ(sent.error().text, "udp://log.example:514: log.example: the resolver does not say where it is");
    });
    EXPECT_LT(took, 1500);
  }
  EXPECT_LT(timed([&] {
              EXPECT_FALSE(message_reach({MessageAddress::Kind::tcp, "", "log.example", "601"}, within(100)));
            }),
            1500);
  HttpClient client;
  const auto took = timed([&] {
    const auto answered = client.send({"GET", "http://hook.example:1234/x", {}, {}}, {}, within(100));
    ASSERT_FALSE(answered);
    EXPECT_EQ(answered.error().text, "http://hook.example:1234: hook.example: the resolver does not say where it is");
  });
  EXPECT_LT(took, 1500);
  // Then the address is tried, and nobody is there.
  answer("hook.example", "127.0.0.1");
  const auto refused = client.send({"GET", "http://hook.example:1/x", {}, {}}, {}, within(5000));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text.find("hook.example port 1"), std::string::npos) << refused.error().text;
}

}  // namespace
}  // namespace vitald
