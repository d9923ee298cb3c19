// SPDX-License-Identifier: Apache-2.0
// The queue before receivers that fail, hang and die, over restarts, and on disks that are full or damaged.
#include "exporters/deliver/queue.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

#include "core/instruments.h"
#include "exporters/deliver/journal.h"

namespace vitald {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::int64_t kMs = 1'000'000;

// What a destination does is said by the test, which outlives it.
struct Receiver {
  enum class Mode { takes, fails, hangs, ignores_stop, throws };
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> got, keys;
  std::vector<std::int64_t> attempts_ns;
  Mode mode = Mode::takes;
  std::size_t takes_only = SIZE_MAX;  // then it fails
  std::int64_t retry_after_ns = 0;
  bool refuses = false, loses = false;  // loses: a part of each

  template <class F>
  bool wait(F&& condition) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(20), std::forward<F>(condition));
  }
  bool has(std::size_t count) {
    return wait([&] { return got.size() >= count; });
  }
  void set(Mode m) {
    const std::lock_guard lock(mutex);
    mode = m;
    changed.notify_all();
  }
};

class ToReceiver final : public Destination {
 public:
  explicit ToReceiver(Receiver& receiver) : r_(receiver) {}
  Result<Sent> send(std::span<const Item> items, const Attempt& attempt) override {
    std::unique_lock lock(r_.mutex);
    r_.attempts_ns.push_back(SystemClock::read(CLOCK_BOOTTIME));
    r_.changed.notify_all();
    if (r_.mode == Receiver::Mode::throws) throw std::runtime_error("thrown");
    if (r_.mode == Receiver::Mode::ignores_stop) {
      r_.changed.wait(lock, [this] { return r_.mode != Receiver::Mode::ignores_stop; });
    }
    if (r_.mode == Receiver::Mode::hangs) {
      lock.unlock();
      pollfd p{attempt.stop_fd, POLLIN, 0};
      poll(&p, 1, -1);
      return Sent{};
    }
    if (r_.mode == Receiver::Mode::fails) return fail(Errc::io, "nobody listens");
    Sent sent;
    for (const auto& item : items) {
      if (r_.takes_only == 0) break;
      --r_.takes_only;
      ++sent.taken;
      sent.refused += r_.refuses;
      r_.got.push_back(item.body);
      r_.keys.push_back(item.key);
    }
    sent.refusing = r_.refuses || r_.loses;
    sent.retry_after_ns = sent.taken < items.size() ? r_.retry_after_ns : 0;
    r_.changed.notify_all();
    return sent;
  }

 private:
  Receiver& r_;
};

double metric(std::string_view family, const std::string& destination, const std::string& reason = "") {
  double found = 0;
  instruments().each([&](const MetricDesc& desc, const Instruments::Instrument& instrument) {
    const auto has = [&](const char* name, const std::string& value) {
      return std::ranges::count(instrument.labels, std::pair<std::string, std::string>(name, value)) > 0;
    };
    if (desc.name != family || !has("destination", destination) || (!reason.empty() && !has("reason", reason))) return;
    if (const auto* c = std::get_if<prometheus::Counter>(&instrument.value)) found = c->Value();
    else if (const auto* g = std::get_if<prometheus::Gauge>(&instrument.value)) found = g->Value();
  });
  return found;
}

class QueueTest : public testing::Test {
 protected:
  QueueTest() {
    char name[] = "/tmp/vitald-queue-XXXXXX";
    if (!mkdtemp(name)) std::abort();
    top_ = name;
    settings_.name = testing::UnitTest::GetInstance()->current_test_info()->name();
    settings_.first_wait_ns = kMs;
    settings_.most_wait_ns = 5 * kMs;
  }
  ~QueueTest() override { fs::remove_all(top_); }

  void open_state() {
    state_.reset();
    auto opened = StateDir::open(top_ + "/state");
    ASSERT_TRUE(opened) << opened.error().text;
    state_ = std::move(*opened);
  }
  std::unique_ptr<Queue> queue() {
    return std::make_unique<Queue>(settings_, std::make_unique<ToReceiver>(receiver_), state_, clock_);
  }
  static Item item(int i, std::size_t bytes = 0) {
    Item it;
    it.key = fmt::format("key {}", i);
    it.body = fmt::format("{}", i);
    if (bytes > it.body.size()) it.body.append(bytes - it.body.size(), 'x');
    it.wall_ms = SystemClock::read(CLOCK_REALTIME) / kMs;
    return it;
  }
  static std::vector<std::string> numbers(int from, int to) {
    std::vector<std::string> out;
    for (int i = from; i <= to; ++i) out.push_back(std::to_string(i));
    return out;
  }
  // Bodies up to the padding.
  std::vector<std::string> got() {
    const std::lock_guard lock(receiver_.mutex);
    auto out = receiver_.got;
    for (auto& s : out) s = s.substr(0, s.find('x'));
    return out;
  }
  [[nodiscard]] std::string folder() const { return top_ + "/state/queue/" + settings_.name; }
  [[nodiscard]] std::vector<std::string> files() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(folder()))
      if (entry.path().filename() != "lock") out.push_back(entry.path().filename());
    std::ranges::sort(out);
    return out;
  }
  [[nodiscard]] std::string bytes_on_disk() const {
    std::string all;
    for (const auto& file : files()) {
      std::ifstream in(folder() + "/" + file, std::ios::binary);
      std::stringstream text;
      text << in.rdbuf();
      all += text.str();
    }
    return all;
  }

  std::string top_;
  SystemClock clock_;
  Receiver receiver_;
  std::shared_ptr<StateDir> state_;
  QueueSettings settings_;
};

TEST_F(QueueTest, InOrderAndInBatches) {
  settings_.batch_items = 7;
  const auto q = queue();
  for (int i = 1; i <= 100; ++i) q->push(item(i));
  ASSERT_TRUE(receiver_.has(100));
  EXPECT_EQ(got(), numbers(1, 100));
  EXPECT_EQ(receiver_.keys[41], "key 42");
}

TEST_F(QueueTest, TriesAgainInOrderAndSaysSoOnce) {
  receiver_.mode = Receiver::Mode::fails;
  testing::internal::CaptureStderr();
  {
    const auto q = queue();
    for (int i = 1; i <= 5; ++i) q->push(item(i));
    ASSERT_TRUE(receiver_.wait([&] { return receiver_.attempts_ns.size() >= 4; }));
    q->measure();
    EXPECT_EQ(metric("vitald_delivery_queued", settings_.name), 5);
    receiver_.set(Receiver::Mode::throws);
    ASSERT_TRUE(receiver_.wait(
        [&, before = receiver_.attempts_ns.size()] { return receiver_.attempts_ns.size() >= before + 2; }));
    receiver_.set(Receiver::Mode::takes);
    ASSERT_TRUE(receiver_.has(5));
  }
  const auto log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(got(), numbers(1, 5));
  EXPECT_GE(metric("vitald_delivery_failed_total", settings_.name), 4);
  EXPECT_EQ(metric("vitald_delivery_delivered_total", settings_.name), 5);
  EXPECT_EQ(std::ranges::count(log, '\n'), 2) << log;
  EXPECT_THAT(log, HasSubstr("not taken, it is tried again\" destination=TriesAgainInOrderAndSaysSoOnce "
                             "err=\"nobody listens\""));
  EXPECT_THAT(log, HasSubstr("it is taken again"));
}

TEST_F(QueueTest, ReceiversWishIsHonoured) {
  receiver_.takes_only = 1;
  receiver_.retry_after_ns = 200 * kMs;
  settings_.batch_items = 2;
  const auto q = queue();
  q->push({item(1), item(2)});
  ASSERT_TRUE(receiver_.wait([&] { return receiver_.attempts_ns.size() >= 1 && receiver_.got.size() == 1; }));
  {
    const std::lock_guard lock(receiver_.mutex);
    receiver_.takes_only = SIZE_MAX;
  }
  ASSERT_TRUE(receiver_.has(2));
  EXPECT_GE(receiver_.attempts_ns[1] - receiver_.attempts_ns[0], 200 * kMs);
  EXPECT_EQ(got(), numbers(1, 2));
}

TEST_F(QueueTest, RefusedIsDoneWithAndCounted) {
  receiver_.refuses = true;
  const auto q = queue();
  q->push({item(1), item(2)});
  ASSERT_TRUE(receiver_.has(2));
  while (metric("vitald_delivery_dropped_total", settings_.name, "refused") < 2) std::this_thread::yield();
  EXPECT_EQ(q->stats().dropped.refused, 2U);
  EXPECT_EQ(q->stats().dropped.all(), 2U);
  EXPECT_EQ(metric("vitald_delivery_delivered_total", settings_.name), 0);
}

// A state, so that who is told of it is told once; of what belongs together one that is taken says nothing of the
// others.
TEST_F(QueueTest, RefusingUntilWhatCountsIsTaken) {
  for (const bool together : {false, true}) {
    SCOPED_TRACE(together);
    settings_.items_go_together = together;
    settings_.batch_items = 1;
    receiver_.mode = Receiver::Mode::takes;
    receiver_.got.clear();
    {
      const auto q = queue();
      const auto refusing = [&] {
        EXPECT_EQ(metric("vitald_delivery_refusing", settings_.name) == 1, q->stats().refusing);
        return q->stats().refusing;
      };
      const auto becomes = [&](bool want) {
        for (int i = 0; i < 20'000 && refusing() != want; ++i)
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return refusing() == want;
      };
      EXPECT_FALSE(refusing());
      receiver_.loses = true;
      q->push({item(1)});
      EXPECT_TRUE(becomes(true));
      // The first of three is taken, the others wait.
      receiver_.set(Receiver::Mode::fails);
      q->push({item(2), item(3), item(4)});
      {
        const std::lock_guard lock(receiver_.mutex);
        receiver_.loses = false;
        receiver_.takes_only = 1;
        receiver_.mode = Receiver::Mode::takes;
      }
      ASSERT_TRUE(receiver_.has(2));
      EXPECT_TRUE(becomes(together));
      {
        const std::lock_guard lock(receiver_.mutex);
        receiver_.takes_only = SIZE_MAX;
      }
      ASSERT_TRUE(receiver_.has(4));
      EXPECT_TRUE(becomes(false));
      // Away is no refusal, and no sign that there is none.
      receiver_.loses = true;
      q->push({item(5)});
      EXPECT_TRUE(becomes(true));
      receiver_.set(Receiver::Mode::fails);
      q->push({item(6)});
      ASSERT_TRUE(
          receiver_.wait([&, n = receiver_.attempts_ns.size()] { return receiver_.attempts_ns.size() > n + 2; }));
      EXPECT_TRUE(refusing());
      receiver_.loses = false;
    }
    EXPECT_EQ(metric("vitald_delivery_refusing", settings_.name), 0) << "of one that is no more";
  }
}

// Who is back and takes nothing does not "take it again".
TEST_F(QueueTest, AnAnswerThatRefusesAllIsNoTaking) {
  receiver_.mode = Receiver::Mode::fails;
  testing::internal::CaptureStderr();
  {
    const auto q = queue();
    q->push(item(1));
    ASSERT_TRUE(receiver_.wait([&] { return receiver_.attempts_ns.size() >= 2; }));
    {
      const std::lock_guard lock(receiver_.mutex);
      receiver_.refuses = true;
    }
    receiver_.set(Receiver::Mode::takes);
    ASSERT_TRUE(receiver_.has(1));
    while (metric("vitald_delivery_dropped_total", settings_.name, "refused") < 1) std::this_thread::yield();
  }
  const auto log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("there is an answer again, and all is refused"));
  EXPECT_THAT(log, testing::Not(HasSubstr("taken again")));
}

TEST_F(QueueTest, LimitDropsTheOldestAndNamesThem) {
  receiver_.mode = Receiver::Mode::hangs;
  settings_.most_items = 3;
  testing::internal::CaptureStderr();
  const auto q = queue();
  q->push(item(1));
  ASSERT_TRUE(receiver_.wait([&] { return receiver_.attempts_ns.size() == 1; }));  // 1 is with the receiver
  for (int i = 2; i <= 7; ++i) q->push(item(i));
  EXPECT_EQ(q->stats().waiting, 3U);
  EXPECT_EQ(q->stats().dropped.full, 3U);
  EXPECT_EQ(metric("vitald_delivery_dropped_total", settings_.name, "full"), 3);
  const auto rest = q->end();
  const auto log = testing::internal::GetCapturedStderr();
  for (const auto* dropped : {"key 2", "key 3", "key 4"}) EXPECT_THAT(log, HasSubstr(dropped));
  std::vector<std::string> left;
  for (const auto& i : rest) left.push_back(i.body);
  EXPECT_THAT(left, ElementsAre("1", "5", "6", "7"));
}

TEST_F(QueueTest, TooLargeIsRefusedAtOnce) {
  const auto q = queue();
  q->push({item(1, 5 << 20), item(2)});
  ASSERT_TRUE(receiver_.has(1));
  EXPECT_EQ(got(), numbers(2, 2));
  EXPECT_EQ(q->stats().dropped.too_large, 1U);
  EXPECT_EQ(metric("vitald_delivery_dropped_total", settings_.name, "too_large"), 1);
  EXPECT_EQ(metric("vitald_delivery_refusing", settings_.name), 0) << "the next one was taken";
}

TEST_F(QueueTest, JournalIsOnDiskBeforePushReturns) {
  open_state();
  settings_.journal = true;
  receiver_.mode = Receiver::Mode::hangs;
  const auto q = queue();
  for (int i = 1; i <= 20; ++i) {
    q->push(item(i, 100));
    EXPECT_THAT(bytes_on_disk(), HasSubstr(fmt::format("key {}{}xxx", i, i)));
  }
  EXPECT_GT(metric("vitald_delivery_disk_bytes", settings_.name), 2000);
}

TEST_F(QueueTest, WhatIsNotDeliveredComesAfterARestart) {
  for (const bool journal : {true, false}) {
    SCOPED_TRACE(journal);
    settings_.journal = journal;
    settings_.name = fmt::format("restart {}/..", journal);
    open_state();
    receiver_.got.clear();
    receiver_.takes_only = 30;
    {
      const auto q = queue();
      for (int i = 1; i <= 50; ++i) q->push(item(i));
      ASSERT_TRUE(receiver_.has(30));
    }
    EXPECT_EQ(metric("vitald_delivery_dropped_total", settings_.name), 0);
    state_.reset();
    open_state();
    {
      receiver_.takes_only = 10;
      const auto q = queue();
      q->push(item(51));
      ASSERT_TRUE(receiver_.has(40));
    }
    state_.reset();
    open_state();
    receiver_.takes_only = SIZE_MAX;
    const auto q = queue();
    q->push(item(52));
    ASSERT_TRUE(receiver_.has(52));
    EXPECT_EQ(got(), numbers(1, 52));
    state_.reset();
  }
  EXPECT_FALSE(fs::exists(top_ + "/state/queue/.."
                                 "/lock/x"));
  for (const auto& entry : fs::directory_iterator(top_ + "/state/queue"))
    EXPECT_THAT(entry.path().filename().string(), testing::StartsWith("restart%20"));
}

TEST_F(QueueTest, NothingIsLeftWhenAllIsDelivered) {
  open_state();
  settings_.journal = true;
  for (int run = 0; run < 3; ++run) {
    const auto q = queue();
    for (int i = 1; i <= 10; ++i) q->push(item(i));
    ASSERT_TRUE(receiver_.has(static_cast<std::size_t>(run + 1) * 10));
    while (q->stats().in_flight > 0) std::this_thread::yield();
  }
  EXPECT_EQ(receiver_.got.size(), 30U);
  EXPECT_THAT(files(), ElementsAre());
}

// Memory takes twenty, the disk the rest.
TEST_F(QueueTest, SpillsWhileTheReceiverIsAway) {
  for (const bool journal : {true, false}) {
    SCOPED_TRACE(journal);
    open_state();
    settings_.journal = journal;
    settings_.name = fmt::format("spill{}", journal);
    settings_.most_memory_bytes = 20'000;
    settings_.batch_items = 50;
    receiver_.got.clear();
    receiver_.mode = Receiver::Mode::fails;
    const auto q = queue();
    for (int i = 1; i <= 4000; i += 4)
      q->push({item(i, 1000), item(i + 1, 1000), item(i + 2, 1000), item(i + 3, 1000)});
    EXPECT_EQ(q->stats().waiting + q->stats().in_flight, 4000U);
    receiver_.set(Receiver::Mode::takes);
    ASSERT_TRUE(receiver_.has(4000));
    EXPECT_EQ(got(), numbers(1, 4000));
    EXPECT_EQ(metric("vitald_delivery_dropped_total", settings_.name, "full"), 0);
  }
}

// A kill -9 while the receiver has an item and says nothing, and one while what an earlier run left is delivered.
TEST_F(QueueTest, WhatComesMeanwhileIsOnDisk) {
  open_state();
  const auto on_disk = [this](int i) {
    const auto key = fmt::format("key {}", i);
    for (int n = 0; n < 500; ++n) {
      if (bytes_on_disk().find(key) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  };
  receiver_.mode = Receiver::Mode::ignores_stop;
  {
    const auto q = queue();
    q->push(item(1));
    ASSERT_TRUE(receiver_.wait([&] { return !receiver_.attempts_ns.empty(); }));
    q->push(item(2));  // at once: nobody who takes what comes is slow
    EXPECT_EQ(q->stats().disk_bytes, 0U);
    for (const int i : {1, 2}) EXPECT_TRUE(on_disk(i)) << i;  // though nothing else comes
    q->push(item(3));
    EXPECT_TRUE(on_disk(3));
    receiver_.set(Receiver::Mode::fails);
  }
  state_.reset();
  open_state();
  receiver_.set(Receiver::Mode::hangs);
  const auto q = queue();
  ASSERT_TRUE(receiver_.wait([&, n = receiver_.attempts_ns.size()] { return receiver_.attempts_ns.size() > n; }));
  EXPECT_EQ(q->stats().waiting + q->stats().in_flight, 3U);
  q->push(item(4));
  EXPECT_TRUE(on_disk(4)) << "behind those of the run before";
}

TEST_F(QueueTest, DiskLimitDropsTheOldestSegments) {
  open_state();
  settings_.most_memory_bytes = 20'000;
  settings_.most_disk_bytes = 3 << 20;
  settings_.batch_items = 50;
  receiver_.mode = Receiver::Mode::fails;
  const auto q = queue();
  for (int i = 1; i <= 8000; ++i) q->push(item(i, 1000));
  receiver_.set(Receiver::Mode::takes);
  ASSERT_TRUE(receiver_.wait([&] { return !receiver_.got.empty() && receiver_.got.back().starts_with("8000x"); }));
  const auto have = got();
  EXPECT_EQ(have.size() + static_cast<std::size_t>(metric("vitald_delivery_dropped_total", settings_.name, "full")),
            8000U);
  EXPECT_LT(have.size(), 5000U);
  EXPECT_GT(have.size(), 1500U);
  int before = 0;
  for (const auto& number : have) {
    EXPECT_GT(std::stoi(number), before);
    before = std::stoi(number);
  }
}

// A file goes as a whole: of the least that a queue may have it must not be nearly all.
TEST_F(QueueTest, TheLeastDiskLimitDropsTheOldestToo) {
  open_state();
  settings_.most_memory_bytes = 20'000;
  settings_.most_disk_bytes = 1 << 20;
  settings_.batch_items = 50;
  receiver_.mode = Receiver::Mode::fails;
  const auto q = queue();
  for (int i = 1; i <= 2000; ++i) {
    q->push(item(i, 1000));
    const auto waiting = q->stats().waiting + q->stats().in_flight;
    EXPECT_GE(waiting, static_cast<std::size_t>(std::min(i, 700))) << i;
  }
  receiver_.set(Receiver::Mode::takes);
  ASSERT_TRUE(receiver_.wait([&] { return !receiver_.got.empty() && receiver_.got.back().starts_with("2000x"); }));
  EXPECT_EQ(got().size() + static_cast<std::size_t>(metric("vitald_delivery_dropped_total", settings_.name, "full")),
            2000U);
}

TEST_F(QueueTest, DamagedFilesLoseOnlyWhatIsDamaged) {
  struct Case {
    const char* name;
    std::function<void(const std::string& file, std::string& bytes)> change;
    std::vector<std::string> want;
    std::vector<std::string> left;  // what stays in the folder beside our own files
  };
  const Case cases[] = {
      {"torn", [](const auto&, auto& b) { b.resize(b.size() - 3); }, {"1", "2", "3", "4"}, {"1.queue.damaged"}},
      {"changed",
       [](const auto&, auto& b) { b[b.find("22222") + 2] = '0'; },
       {"1", "3", "4", "5"},
       {"1.queue.damaged"}},
      {"zeros behind",
       [](const auto&, auto& b) { b.append(1000, '\0'); },
       {"1", "2", "3", "4", "5"},
       {"1.queue.damaged"}},
      {"empty", [](const auto&, auto& b) { b.clear(); }, {}, {"1.queue.damaged"}},
      {"foreign beside it",
       [](const auto& file, auto&) {
         std::ofstream(file + ".txt") << "mine";
         fs::create_directory(fs::path(file).parent_path() / "00000000000000ff.queue");
         fs::create_symlink("/etc/passwd", fs::path(file).parent_path() / "00000000000000fe.queue");
       },
       {"1", "2", "3", "4", "5"},
       {"1.queue.txt", "e.queue", "f.queue"}},
  };
  settings_.journal = true;
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    settings_.name = fmt::format("damage-{}", &c - cases);
    open_state();
    receiver_.got.clear();
    receiver_.mode = Receiver::Mode::fails;
    {
      const auto q = queue();
      for (int i = 1; i <= 5; ++i) {
        auto it = item(i);
        it.body += std::string(40, static_cast<char>('0' + i)) + "x";
        q->push(std::move(it));
      }
    }
    ASSERT_EQ(files().size(), 1U);
    const auto file = folder() + "/" + files()[0];
    auto bytes = bytes_on_disk();
    c.change(file, bytes);
    std::ofstream(file, std::ios::binary) << bytes;
    testing::internal::CaptureStderr();
    receiver_.set(Receiver::Mode::takes);
    {
      const auto q = queue();
      q->push(item(6));
      ASSERT_TRUE(receiver_.has(c.want.size() + 1));
      while (q->stats().in_flight > 0) std::this_thread::yield();
    }
    const auto log = testing::internal::GetCapturedStderr();
    auto want = c.want;
    want.push_back("6");
    std::vector<std::string> have;
    for (const auto& body : got()) have.push_back(body.substr(0, 1));
    EXPECT_EQ(have, want);
    std::vector<std::string> left;
    for (const auto& name : files()) left.push_back(name.substr(15));
    EXPECT_EQ(left, c.left);
    EXPECT_THAT(log, HasSubstr(c.left[0].ends_with("damaged") ? "is damaged: what is good in it is kept" : "not ours"));
    state_.reset();
  }
}

// A real process that is killed while it delivers: what it got rid of is gone or comes once more, the rest comes.
TEST_F(QueueTest, KilledWhileDelivering) {
  settings_.journal = true;
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  const auto pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    open_state();
    receiver_.takes_only = 25;
    const auto q = queue();
    for (int i = 1; i <= 100; ++i) q->push(item(i));
    if (!receiver_.has(25)) _exit(1);
    [[maybe_unused]] const auto n = write(fds[1], "x", 1);
    pause();
    _exit(2);
  }
  close(fds[1]);
  char c;
  ASSERT_EQ(read(fds[0], &c, 1), 1);
  close(fds[0]);
  kill(pid, SIGKILL);
  int status = 0;
  waitpid(pid, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  open_state();
  const auto q = queue();
  q->push(item(101));
  ASSERT_TRUE(receiver_.wait([&] { return !receiver_.got.empty() && receiver_.got.back() == "101"; }));
  const auto have = got();
  const auto first = std::stoi(have.front());
  EXPECT_LE(first, 26);  // 26 was never taken
  EXPECT_GE(first, 1);
  EXPECT_EQ(have, numbers(first, 101));
}

// In a mount namespace of a child, on a tmpfs of 64 KiB. `work` says what is wrong; 0: nothing.
class SmallDisk : public QueueTest {
 protected:
  void on_a_small_disk(const std::function<int()>& work) {
    if (geteuid() != 0) GTEST_SKIP() << "only root can mount a small tmpfs";
    settings_.journal = true;
    const auto pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      mkdir((top_ + "/state").c_str(), 0700);
      if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          mount("tmpfs", (top_ + "/state").c_str(), "tmpfs", 0, "size=64k,mode=0700") != 0)
        _exit(77);
      open_state();
      _exit(work());
    }
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "no mount namespace to be had here";
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << WEXITSTATUS(status);
  }
  void fill() const {
    const Fd file(open((top_ + "/state/filler").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    const std::string block(4096, 'f');
    while (write(file.get(), block.data(), block.size()) > 0) {
    }
  }
  [[nodiscard]] bool disk_fails() const { return metric("vitald_delivery_disk_failing", settings_.name) == 1; }
};

TEST_F(SmallDisk, GoesOnInMemory) {
  on_a_small_disk([this] {
    receiver_.mode = Receiver::Mode::fails;
    const auto q = queue();
    for (int i = 1; i <= 300; ++i) q->push(item(i, 1000));
    if (!disk_fails()) return 1;
    if (q->stats().waiting + q->stats().in_flight != 300) return 2;
    receiver_.set(Receiver::Mode::takes);
    if (!receiver_.has(300)) return 3;
    if (got() != numbers(1, 300)) return 4;
    // Nothing waits that a restart would lose.
    for (int i = 0; i < 500 && disk_fails(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return disk_fails() ? 5 : 0;
  });
}

TEST_F(SmallDisk, IsTriedOnceMoreAtTheEnd) {
  on_a_small_disk([this] {
    receiver_.mode = Receiver::Mode::fails;
    auto q = queue();
    for (int i = 1; i <= 3; ++i) q->push(item(i, 1000));
    fill();
    for (int i = 4; i <= 9; ++i) q->push(item(i, 4000));
    if (!disk_fails()) return 1;
    fs::remove(top_ + "/state/filler");
    q.reset();  // sooner than the disk would be tried again
    receiver_.set(Receiver::Mode::takes);
    q = queue();
    if (!receiver_.has(9)) return 2;
    return got() == numbers(1, 9) ? 0 : 3;
  });
}

// Whoever takes over gets what is not on disk; what is there it finds itself.
TEST_F(SmallDisk, WhatIsOnDiskIsNotHandedOverToo) {
  on_a_small_disk([this] {
    receiver_.mode = Receiver::Mode::fails;
    auto q = queue();
    for (int i = 1; i <= 3; ++i) q->push(item(i, 1000));
    fill();
    for (int i = 4; i <= 9; ++i) q->push(item(i, 4000));
    if (!disk_fails()) return 1;
    auto rest = q->end();
    if (rest.size() != 6) return 2;
    q.reset();
    receiver_.set(Receiver::Mode::takes);
    q = queue();
    q->push(std::move(rest));
    if (!receiver_.has(9)) return 3;
    return got() == numbers(1, 9) ? 0 : 4;
  });
}

TEST_F(QueueTest, EndWaitsNotForEver) {
  open_state();
  settings_.journal = true;
  settings_.end_patience_ns = 200 * kMs;
  receiver_.mode = Receiver::Mode::ignores_stop;
  auto q = queue();
  q->push({item(1), item(2)});
  ASSERT_TRUE(receiver_.wait([&] { return receiver_.attempts_ns.size() == 1; }));
  const auto begin = SystemClock::read(CLOCK_MONOTONIC);
  q.reset();
  EXPECT_LT(SystemClock::read(CLOCK_MONOTONIC) - begin, 2'000 * kMs);
  receiver_.set(Receiver::Mode::takes);  // its thread ends with this; the item may have come through or not
  ASSERT_TRUE(receiver_.has(1));
  const auto next = queue();
  ASSERT_TRUE(receiver_.wait([&] { return receiver_.got.back() == "2"; }));
}

TEST_F(QueueTest, AgeOfTheOldest) {
  receiver_.mode = Receiver::Mode::fails;
  const auto q = queue();
  auto old = item(1);
  old.wall_ms -= 90'000;
  q->push({old, item(2)});
  q->measure();
  EXPECT_NEAR(metric("vitald_delivery_oldest_age_seconds", settings_.name), 90, 5);
}

// No rules run, so nobody measures: the queue itself does while something waits.
TEST_F(QueueTest, AgeOfTheOldestMovesByItself) {
  receiver_.mode = Receiver::Mode::fails;
  const auto q = queue();
  auto old = item(1);
  old.wall_ms -= 90'000;
  q->push(old);
  double before = 0;
  for (int i = 0; i < 20'000 && before == 0; ++i) {
    before = metric("vitald_delivery_oldest_age_seconds", settings_.name);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_NEAR(before, 90, 5);
  double after = before;
  for (int i = 0; i < 20'000 && after == before; ++i) {
    after = metric("vitald_delivery_oldest_age_seconds", settings_.name);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_GT(after, before);
}

TEST_F(QueueTest, WhatIsLeftBehind) {
  receiver_.mode = Receiver::Mode::fails;
  const auto now_ms = item(1).wall_ms;
  const auto look = [&](std::vector<std::string> names, std::int64_t age_ms) {
    return left_behind(*state_, names, now_ms + age_ms, 1000);
  };
  open_state();
  EXPECT_TRUE(look({}, 0).empty());
  {
    const auto q = queue();
    q->push({item(1), item(2), item(3)});
    EXPECT_TRUE(look({}, 0).empty()) << "a reload took it away, and it is still ending";
  }
  EXPECT_TRUE(look({settings_.name}, 10'000).empty()) << "it is configured";
  for (int i = 0; i < 2; ++i) {
    const auto left = look({"another"}, 500);
    ASSERT_EQ(left.size(), 1U);
    EXPECT_EQ(left[0].items, 3U);
    EXPECT_FALSE(left[0].removed);
    EXPECT_TRUE(fs::is_directory(left[0].path)) << left[0].path;
  }
  // One that is configured again gets it.
  receiver_.set(Receiver::Mode::takes);
  {
    const auto q = queue();
    EXPECT_TRUE(receiver_.has(3));
    receiver_.set(Receiver::Mode::fails);
    q->push(item(4));
  }
  std::ofstream(folder() + "/notes") << "a person's";
  EXPECT_FALSE(look({}, 20'000).at(0).removed) << "something there is not ours";
  fs::remove(folder() + "/notes");
  const auto gone = look({}, 20'000);
  ASSERT_EQ(gone.size(), 1U);
  EXPECT_EQ(gone[0].items, 1U);
  EXPECT_TRUE(gone[0].removed);
  EXPECT_FALSE(fs::exists(folder()));
  EXPECT_TRUE(look({}, 20'000).empty());
}

}  // namespace
}  // namespace vitald
