// SPDX-License-Identifier: Apache-2.0
// A worker in uninterruptible sleep: it writes to a frozen file system, which SIGKILL does not end.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "agent/worker/client.h"
#include "core/clock.h"
#include "core/os/process.h"

namespace vitald {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr MetricDesc kRuns{"test_runs_total", MetricType::counter, "Runs."};

class Writes final : public Collector {
 public:
  explicit Writes(std::string file) : file_(std::move(file)) {}
  Result<> collect(BatchWriter& out) override {
    const Fd fd(open(file_.c_str(), O_CREAT | O_WRONLY, 0600));  // sb_start_write() waits while it is frozen
    out.set(kRuns, ++runs_);
    return {};
  }

 private:
  std::string file_;
  int runs_ = 0;
};

int run(std::vector<std::string> arguments) {
  ProcessSettings p;
  p.path = "/usr/bin/env";
  p.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  p.arguments = {"env"};
  p.arguments.insert(p.arguments.end(), arguments.begin(), arguments.end());
  p.err = STDERR_FILENO;
  auto process = Process::start(p);
  if (!process) return -1;
  const auto exit = process->wait(20 * kSecond);
  return exit ? exit->status : -1;
}

char state_of(int pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(in, line);
  const auto at = line.rfind(") ");
  return at == std::string::npos ? '-' : line[at + 2];
}

// A small ext4 in a file, mounted where only this process sees it, and always thawed at the end.
class Frozen {
 public:
  Frozen() {
    char name[] = "/tmp/vitald-stuck-XXXXXX";
    if (!mkdtemp(name)) return;
    dir = name;
    image_ = dir + ".img";
    mounted = truncate_image() && run({"mkfs.ext4", "-q", "-F", image_}) == 0 &&
              run({"mount", "-o", "loop", image_, dir}) == 0;
  }
  ~Frozen() {
    thaw();
    // What was stuck ends only now.
    for (int i = 0; mounted && i < 10'000 && umount(dir.c_str()) != 0 && errno == EBUSY; ++i) usleep(1000);
    unlink(image_.c_str());
    rmdir(dir.c_str());
  }
  void freeze() { frozen_ = run({"fsfreeze", "-f", dir}) == 0; }
  void thaw() {
    if (frozen_) run({"fsfreeze", "-u", dir});
    frozen_ = false;
  }
  std::string dir;
  bool mounted = false;

 private:
  [[nodiscard]] bool truncate_image() const {
    const Fd fd(open(image_.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    return fd && ftruncate(fd.get(), 8 << 20) == 0;
  }
  std::string image_;
  bool frozen_ = false;
};

std::int64_t now() { return SystemClock::read(CLOCK_BOOTTIME); }

void wait_for_answer(WorkerClient& client, std::int64_t at) {
  pollfd p{client.fd(), POLLIN, 0};
  while (client.busy() && poll(&p, 1, 20'000) == 1) client.advance(at);
}

TEST(Stuck, IsReportedLeftAloneAndNotMultiplied) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: mounts and freezes a file system";
  if (access("/dev/loop-control", W_OK) != 0) GTEST_SKIP() << "needs loop devices: mounts and freezes a file system";
  Frozen fs;
  ASSERT_TRUE(fs.mounted);
  WorkerSettings settings;
  settings.collector = fs.dir + "/file";
  WorkerClient client(settings);
  auto at = now();
  client.request(at);
  wait_for_answer(client, at);
  ASSERT_TRUE(client.batch(at)->health.ok);
  const int pid = client.stats().pid;

  unlink(settings.collector.c_str());
  fs.freeze();
  client.request(at);
  for (int i = 0; i < 10'000 && state_of(pid) != 'D'; ++i) usleep(1000);
  ASSERT_EQ(state_of(pid), 'D');
  at += 6 * kSecond;
  EXPECT_TRUE(client.advance(at));  // the deadline: SIGKILL
  EXPECT_FALSE(client.stats().stuck);
  for (int i = 0; i < 100; ++i) {
    at += 100 * kSecond;  // long past every backoff
    client.request(at);
    client.advance(at);
  }
  EXPECT_TRUE(client.stats().stuck);
  EXPECT_EQ(client.stats().starts, 1U);
  EXPECT_EQ(client.stats().pid, pid);
  EXPECT_EQ(state_of(pid), 'D');
  EXPECT_FALSE(client.batch(at)->health.ok);

  fs.thaw();
  for (int i = 0; i < 10'000 && client.stats().starts == 1; ++i) {
    client.request(at);
    usleep(1000);
  }
  wait_for_answer(client, at);
  EXPECT_TRUE(client.batch(at)->health.ok);
  EXPECT_FALSE(client.stats().stuck);
  EXPECT_EQ(client.stats().starts, 2U);
}

TEST(Stuck, AgentEndsAllTheSame) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: mounts and freezes a file system";
  if (access("/dev/loop-control", W_OK) != 0) GTEST_SKIP() << "needs loop devices: mounts and freezes a file system";
  Frozen fs;
  ASSERT_TRUE(fs.mounted);
  fs.freeze();
  int pid = -1;
  {
    WorkerSettings settings;
    settings.collector = fs.dir + "/file";
    WorkerClient client(settings);
    client.request(now());
    pid = client.stats().pid;
    for (int i = 0; i < 10'000 && state_of(pid) != 'D'; ++i) usleep(1000);
    ASSERT_EQ(state_of(pid), 'D');
  }  // returns, or ctest's limit ends it
  EXPECT_EQ(state_of(pid), 'D');
}

}  // namespace
}  // namespace vitald

int main(int argc, char** argv) {
  if (argc >= 3 && std::strcmp(argv[1], "worker") == 0) {
    vitald::Writes collector(argv[2]);
    return vitald::worker_main(collector, "stuck");
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
