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
#include <thread>

#include "core/clock.h"
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
  return __real_getaddrinfo(answers[name].c_str(), service, &numeric, found);
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
