// SPDX-License-Identifier: Apache-2.0
#include "core/host.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>

namespace vitald {
namespace {

std::string* told = nullptr;  // who ended, in order

struct Plain {
  int value = 7;
  ~Plain() {
    if (told) *told += "plain ";
  }
};
struct OfHost {
  explicit OfHost(const Host& host) : plain(host.shared<Plain>()), proc(host.procfs("")) {}
  ~OfHost() {
    if (told) *told += "of host, plain is still " + std::to_string(plain.value) + "; ";
  }
  Plain& plain;
  std::string proc;
};
struct Throws {
  Throws() {
    if (tries++ == 0) throw std::runtime_error("not yet");
  }
  static inline int tries = 0;
};
struct Counted {
  Counted() { ++made; }
  static inline std::atomic<int> made = 0;
};

TEST(HostShared, OnePerHostAndType) {
  const Host a, b({"/tmp/proc", "/sys", "/", "/"});
  a.shared<Plain>().value = 8;
  EXPECT_EQ(a.shared<Plain>().value, 8);
  EXPECT_EQ(b.shared<Plain>().value, 7);
  EXPECT_EQ(&a.shared<OfHost>().plain, &a.shared<Plain>());
  EXPECT_EQ(b.shared<OfHost>().proc, "/tmp/proc");
}

TEST(HostShared, EndsWithTheHostLastMadeFirst) {
  std::string text;
  {
    const Host host;
    told = &text;
    host.shared<OfHost>();
  }
  told = nullptr;
  EXPECT_EQ(text, "of host, plain is still 7; plain ");
}

TEST(HostShared, OneThatThrowsIsMadeByTheNext) {
  const Host host;
  EXPECT_THROW(host.shared<Throws>(), std::runtime_error);
  host.shared<Throws>();
  host.shared<Throws>();
  EXPECT_EQ(Throws::tries, 2);
}

TEST(HostShared, ManyThreadsAskAtOnce) {
  const Host host;
  std::atomic<int> ready = 0;
  std::vector<std::jthread> threads;
  std::vector<const Counted*> seen(8);
  for (auto& mine : seen)
    threads.emplace_back([&] {
      ++ready;
      while (ready < static_cast<int>(seen.size())) std::this_thread::yield();
      mine = &host.shared<Counted>();
    });
  threads.clear();
  EXPECT_EQ(Counted::made, 1);
  for (const auto* one : seen) EXPECT_EQ(one, seen[0]);
}

// A fixture tree is never taken for the machine, also where it lies beside a real one. What a container sees is in
// tests/e2e/daemonset_test.py.
TEST(HostView, OnlyTheKernelsOwnTrees) {
  const std::string fixture = testing::TempDir();
  const struct {
    const char* name;
    HostRoots roots;
    bool kernel;
  } cases[] = {
      {"the machine itself", {"/proc", "/sys", "/", "/"}, true},
      {"a slash more", {"/proc/", "/sys/", "/", "/"}, true},
      {"by another path", {"/proc/self/root/proc", "/proc/self/root/sys", "/", "/"}, true},
      {"fixture", {fixture, fixture, fixture, "/"}, false},
      {"proc is one", {fixture, "/sys", "/", "/"}, false},
      {"sys is one", {"/proc", fixture, "/", "/"}, false},
      {"nothing there", {fixture + "/none", fixture + "/none", "/", "/"}, false},
      {"exchanged", {"/sys", "/proc", "/", "/"}, false},
  };
  for (const auto& c : cases) {
    const Host host(c.roots);
    EXPECT_EQ(host.view().kernel, c.kernel) << c.name;
    EXPECT_EQ(host.view().network, c.kernel) << c.name;
    EXPECT_FALSE(host.other_network()) << c.name;
    if (!c.kernel) {
      EXPECT_FALSE(host.view().processes || host.view().mounts) << c.name;
    }
  }
}

TEST(HostView, NetFilesStayWhereNetlinkMeansTheSame) {
  EXPECT_EQ(Host().procfs("net/dev"), "/proc/net/dev");
  EXPECT_EQ(Host({"/fixture", "/fixture", "/", "/"}).procfs("net/dev"), "/fixture/net/dev");
}

}  // namespace
}  // namespace vitald
