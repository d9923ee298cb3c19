// SPDX-License-Identifier: Apache-2.0
// WorkerClient against real child processes: this program is also the worker, in every way one can misbehave.
// Time is handed in, so a deadline passes without waiting for it.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>

#include "agent/worker/client.h"
#include "agent/worker/frame.h"
#include "core/clock.h"
#include "core/os/process.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

using testing::HasSubstr;
constexpr std::int64_t kSecond = 1'000'000'000;

constexpr MetricDesc kRuns{"test_runs_total", MetricType::counter, "Runs."};
constexpr MetricDesc kDevice{"test_device_bytes", MetricType::gauge, "Bytes.", "device,mode", "bytes"};
constexpr MetricDesc kInfo{"test_info", MetricType::gauge, "Info."};
constexpr MetricDesc kLatency{"test_latency_seconds", MetricType::histogram, "Latency.", "op", "seconds"};
constexpr MetricDesc kUp{"upsecond_up", MetricType::gauge, "Up.", "collector"};
constexpr MetricDesc kDescriptors{"test_open_descriptors", MetricType::gauge, "Open descriptors."};

// --- the worker's side -----------------------------------------------------------------------------------

class Scripted final : public Collector {
 public:
  explicit Scripted(std::function<Result<>(BatchWriter&, int run)> body) : body_(std::move(body)) {}
  Result<> collect(BatchWriter& out) override { return body_(out, ++run_); }

 private:
  std::function<Result<>(BatchWriter&, int)> body_;
  int run_ = 0;
};

void emit_all(BatchWriter& out, int run) {
  out.set(kRuns, run);
  // One device more from the third run on.
  for (int i = 0; i < (run < 3 ? 2 : 3); ++i)
    out.set(kDevice, i + 0.5, "sd" + std::string(1, static_cast<char>('a' + i)), "r\"\n\\");
  const Label labels[] = {{"zone", "x"}, {"host", "\xff not utf-8"}};
  out.set_labels(kInfo, 1, labels);
  const double bounds[] = {0.001, 0.1, 2.5};
  const std::uint64_t counts[] = {1, 0, static_cast<std::uint64_t>(run), 5};
  out.histogram(kLatency, {bounds, counts, 12.25}, "read");
  out.histogram(kLatency, {bounds, counts, std::nan("")}, "write");
}

void write_raw(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (n <= 0) _exit(0);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}
void read_request() {
  char c[64];
  if (::read(STDIN_FILENO, c, sizeof c) <= 0) _exit(0);
}
[[noreturn]] void wait_for_end() {
  for (;;) read_request();
}

int act_as_worker(const std::string& mode) {
  const auto scripted = [&](std::function<Result<>(BatchWriter&, int)> body) {
    Scripted collector(std::move(body));
    return worker_main(collector, mode);
  };
  const auto values = [](BatchWriter& out, int run) {
    emit_all(out, run);
    return Result<>();
  };
  if (mode == "good") return scripted(values);
  if (mode == "failing")
    return scripted([](BatchWriter& out, int run) -> Result<> {
      out.set(kRuns, run);
      out.problem({Errc::gone, 2, "sdb: vanished"});
      return fail(Errc::denied, "no capability", 1);
    });
  if (mode == "throws")
    return scripted([](BatchWriter&, int) -> Result<> { throw std::runtime_error("from a library"); });
  if (mode == "twice")
    return scripted([](BatchWriter& out, int run) -> Result<> {
      out.set(kDevice, 1, "sda", "r");
      out.set(kDevice, 2, "sda", "r");
      out.set(kRuns, run);
      return {};
    });
  if (mode == "broken-pipe")  // a daemon ended while its library wrote to it
    return scripted([](BatchWriter& out, int run) -> Result<> {
      raise(SIGPIPE);
      out.set(kRuns, run);
      return {};
    });
  if (mode == "hang-second")  // as a hung libvirtd or a crashed debugger would leave it
    return scripted([&](BatchWriter& out, int run) {
      if (run == 2) raise(SIGSTOP);
      return values(out, run);
    });
  if (mode == "hang-ignoring-sigterm") {
    signal(SIGTERM, SIG_IGN);
    return scripted([](BatchWriter&, int) -> Result<> { wait_for_end(); });
  }
  if (mode == "segfault-second")
    return scripted([&](BatchWriter& out, int run) {
      if (run == 2) {
        prctl(PR_SET_DUMPABLE, 0);
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
      }
      return values(out, run);
    });
  if (mode == "upsecond")
    return scripted([&](BatchWriter& out, int run) -> Result<> {
      if (run == 2) _exit(1);
      out.set(kRuns, 7);
      out.set(kUp, 1, "dcmi"), out.set(kUp, 1, "ipmi");
      return {};
    });
  if (mode == "exit") return 3;
  if (mode == "descriptors")
    return scripted([](BatchWriter& out, int) -> Result<> {
      int n = 0;
      DIR* d = opendir("/proc/self/fd");
      while (readdir(d)) ++n;
      closedir(d);
      out.set(kDescriptors, n - 3);  // ".", ".." and the directory
      return {};
    });

  // The rest never speaks the protocol right.
  read_request();
  if (mode == "garbage") write_raw("Segmentation fault (core dumped)\n");
  if (mode == "huge") write_raw(std::string_view("\xff\xff\xff\xff", 4));
  if (mode == "zeros") write_raw(std::string(1 << 20, '\0'));
  if (mode == "not-a-message") write_raw(std::string("\x05\0\0\0", 4) + "\xff\xff\xff\xff\xff");
  if (mode == "truncated" || mode == "truncated-then-silent" || mode == "unasked" || mode == "wrong-sequence" ||
      mode == "no-layout" || mode == "slow-bytes") {
    BatchWriter writer("x");
    writer.begin(0);
    emit_all(writer, 1);
    AnswerWriter answers;
    const auto batch = writer.finish({}, 0, 0);
    std::string frame(answers.write(mode == "wrong-sequence" ? 77 : 1, *batch));
    if (mode == "unasked") frame += std::string(answers.write(2, *batch));
    if (mode == "no-layout") frame = answers.write(1, *batch);  // the second: the layout was in the first
    if (mode == "slow-bytes")
      for (const char c : frame) write_raw({&c, 1});
    else if (mode.starts_with("truncated")) write_raw(std::string_view(frame).substr(0, frame.size() / 2));
    else write_raw(frame);
    if (mode == "truncated") return 0;
  }
  wait_for_end();
}

// --- the agent's side ------------------------------------------------------------------------------------

std::string exposition(const Batch& batch) {
  std::string out;
  for (const auto& s : batch.layout->samples())
    out += fmt::format("{}{}\n", batch.layout->prefix(s), batch.values[s.value]);
  return out;
}

std::int64_t now() { return SystemClock::read(CLOCK_BOOTTIME); }

WorkerSettings settings(std::string mode) {
  WorkerSettings s;
  s.collector = std::move(mode);
  return s;
}

// Until something arrives. The limit is only for a test that fails.
bool wait_for_change(WorkerClient& client, std::int64_t at) {
  for (int i = 0; i < 1000 && client.fd() >= 0; ++i) {
    pollfd p{client.fd(), POLLIN, 0};
    if (poll(&p, 1, 20'000) <= 0) return false;
    if (client.advance(at)) return true;
  }
  return false;
}

BatchPtr ask(WorkerClient& client, std::int64_t at) {
  client.request(at);
  if (client.busy()) wait_for_change(client, at);
  return client.batch(at);
}

bool ends(pid_t pid) {
  const Fd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!fd) return true;
  pollfd p{fd.get(), POLLIN, 0};
  return poll(&p, 1, 20'000) == 1;
}

std::string expected(int run) {
  BatchWriter writer("good");
  writer.begin(0);
  emit_all(writer, run);
  return exposition(*writer.finish({}, 0, 0));
}

TEST(Worker, SendsWhatTheCollectorEmits) {
  WorkerClient client(settings("good"));
  EXPECT_EQ(client.batch(now()), nullptr);
  EXPECT_EQ(client.stats().pid, -1);
  std::shared_ptr<const Layout> layout;
  for (int run = 1; run <= 5; ++run) {
    SCOPED_TRACE(run);
    const auto at = now();
    const auto batch = ask(client, at);
    ASSERT_TRUE(batch);
    EXPECT_EQ(exposition(*batch), expected(run));
    EXPECT_TRUE(batch->health.ok);
    EXPECT_EQ(batch->collected_boot_ns, at);
    EXPECT_EQ(batch->collector, "good");
    // Only the numbers cross again, so the layout stays the same object, except where it really changed.
    EXPECT_EQ(batch->layout == layout, run != 1 && run != 3);
    layout = batch->layout;
  }
  const auto& first = layout->samples().front();
  EXPECT_EQ(first.family->name, "test_runs_total");
  EXPECT_EQ(first.family->type, MetricType::counter);
  EXPECT_EQ(first.family->help, "Runs.");
  EXPECT_EQ(client.stats().starts, 1U);
  EXPECT_GT(client.stats().cpu_ns, 0);
}

TEST(Worker, HealthCrosses) {
  struct Case {
    const char *mode, *error, *problem, *text;
    Errc kind;
  };
  const Case cases[] = {
      {"failing", "no capability", "sdb: vanished", "test_runs_total 1\n", Errc::denied},
      {"throws", "bug, please report: exception: from a library", "", "", Errc::io},
      {"broken-pipe", "", "", "test_runs_total 1\n", Errc::io},
      {"twice", "", "emitted twice, first one kept: test_device_bytes{device=\"sda\",mode=\"r\"}",
       "test_device_bytes{device=\"sda\",mode=\"r\"} 1\ntest_runs_total 1\n", Errc::io},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.mode);
    WorkerClient client(settings(c.mode));
    const auto batch = ask(client, now());
    ASSERT_TRUE(batch);
    EXPECT_EQ(batch->health.ok, *c.error == '\0');
    EXPECT_EQ(batch->health.error.value_or(Error{Errc::io, 0, ""}).text, c.error);
    if (batch->health.error) {
      EXPECT_EQ(batch->health.error->kind, c.kind);
    }
    EXPECT_EQ(batch->health.problems.empty() ? "" : batch->health.problems[0].text, c.problem);
    EXPECT_EQ(exposition(*batch), c.text);
    EXPECT_EQ(client.stats().crashes, 0U);
  }
}

TEST(WorkerFrame, HistogramsStartsEventsAndWhatIsInsideCross) {
  static constexpr MetricDesc kInside{"test_inside", MetricType::gauge, "", "", "", "", Shown::inside};
  BatchWriter writer("w");
  writer.begin(7, 1'700'000'000'000'000'000);
  writer.set(kInside, 1);
  emit_all(writer, 1);
  writer.since(1234);
  writer.set(kDescriptors, 3);
  writer.event({"oom_kill", 5, "killed \xff", {{"comm", "java"}, {"pid", "7"}}});
  for (std::size_t i = 0; i < Batch::kMaxEvents + 1; ++i) writer.event({"other", 6, "", {}});
  const auto sent = writer.finish({}, 0, 0);
  AnswerWriter answers;
  std::string_view rest = answers.write(1, *sent), payload;
  bool malformed = false;
  ASSERT_TRUE(take_frame(rest, payload, malformed));
  AnswerReader reader("w");
  const auto answer = reader.read(payload, 9);
  ASSERT_TRUE(answer) << answer.error().text;
  const auto& got = *answer->batch;
  EXPECT_EQ(exposition(got), exposition(*sent));
  EXPECT_EQ(got.layout->samples()[0].family->shown, Shown::inside);
  EXPECT_EQ(got.layout->samples()[1].family->shown, Shown::everywhere);
  for (std::size_t i = 0; i < sent->layout->samples().size(); ++i)
    EXPECT_EQ(Layout::since_wall_ms(got.layout->samples()[i]), Layout::since_wall_ms(sent->layout->samples()[i])) << i;
  EXPECT_EQ(Layout::since_wall_ms(got.layout->samples().back()), 1234);
  ASSERT_EQ(got.layout->histograms().size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto &a = got.layout->histograms()[i], &b = sent->layout->histograms()[i];
    EXPECT_EQ(a.first_sample, b.first_sample);
    EXPECT_EQ(a.buckets, b.buckets);
    EXPECT_EQ(a.bounds->upper, b.bounds->upper);
  }
  ASSERT_EQ(got.events.size(), Batch::kMaxEvents);
  EXPECT_EQ(*got.events[0], *sent->events[0]);
  EXPECT_EQ(got.events_left_out, 2U);
}

TEST(Worker, DeadlineKillsAndRestarts) {
  WorkerClient client(settings("hang-second"));
  std::int64_t at = now();
  ASSERT_TRUE(ask(client, at));
  const auto pid = client.stats().pid;

  at += 5 * kSecond;
  client.request(at);
  client.advance(at + 4 * kSecond);
  EXPECT_TRUE(client.busy());
  client.request(at + 4 * kSecond);  // still in flight: not multiplied
  EXPECT_TRUE(client.batch(at + 4 * kSecond)->health.ok);

  at += 5 * kSecond + 1;
  EXPECT_TRUE(client.advance(at));
  EXPECT_FALSE(client.busy());
  EXPECT_EQ(client.stats().deadline_kills, 1U);
  const auto late = client.batch(at);
  EXPECT_FALSE(late->health.ok);
  EXPECT_EQ(late->health.error->kind, Errc::timeout);
  EXPECT_EQ(late->health.error->text, "worker hang-second: no answer within 5000 ms, killed");
  EXPECT_EQ(exposition(*late), expected(1));  // the last good numbers, with their age
  EXPECT_TRUE(ends(pid));

  client.request(at);  // too early
  EXPECT_EQ(client.stats().pid, -1);
  at += kSecond;  // the first backoff is a second at most
  const auto again = ask(client, at);
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->health.ok);
  EXPECT_EQ(client.stats().starts, 2U);
  EXPECT_NE(client.stats().pid, pid);
}

TEST(Worker, LastGoodBatchIsDroppedAfterAWhile) {
  WorkerClient client(settings("hang-second"));
  const std::int64_t at = now();
  ask(client, at);
  client.request(at + kSecond);
  client.advance(at + 20 * kSecond);
  EXPECT_EQ(exposition(*client.batch(at + 30 * kSecond)), expected(1));
  const auto dropped = client.batch(at + 30 * kSecond + 1);
  EXPECT_EQ(exposition(*dropped), "");
  EXPECT_FALSE(dropped->health.ok);
  EXPECT_EQ(dropped->collected_boot_ns, at);
}

// For its status 20 ms are waited; with a sanitizer's memory to give back a process may take longer to end.
std::string told(const Batch& batch, [[maybe_unused]] std::string_view collector) {
  auto text = batch.health.error.value_or(Error{}).text;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  if (text == fmt::format("worker {}: closed its output", collector))
    return fmt::format("worker {}: exit status {}", collector, collector == "exit" ? 3 : 0);
#endif
  return text;
}

TEST(Worker, BackoffDoublesUpToItsLimit) {
  WorkerClient client(settings("exit"));
  std::int64_t at = now();
  std::int64_t expected_max = kSecond;
  for (std::uint64_t start = 1; start <= 9; ++start) {
    SCOPED_TRACE(start);
    const auto batch = ask(client, at);
    ASSERT_TRUE(batch);
    EXPECT_EQ(told(*batch, "exit"), "worker exit: exit status 3");
    ASSERT_EQ(client.stats().starts, start);
    EXPECT_EQ(client.stats().crashes, start);
    client.request(at + expected_max / 2 - 1);  // the jitter never goes below half
    EXPECT_EQ(client.stats().starts, start);
    at += expected_max;
    expected_max = std::min(2 * expected_max, 60 * kSecond);
  }
}

TEST(Worker, BrokenWorkersCostOnlyThemselves) {
  struct Case {
    const char *mode, *error;
  };
  const Case cases[] = {
      {"exit", "worker exit: exit status 3"},
      {"garbage", "worker garbage: a frame of more than 33554432 bytes"},
      {"huge", "worker huge: a frame of more than 33554432 bytes"},
      {"zeros", "worker zeros: values for layout 0, which was not sent"},
      {"not-a-message", "worker not-a-message: an answer of 5 bytes that is none"},
      {"truncated", "worker truncated: exit status 0"},
      {"unasked", "worker unasked: answer 2 to request 1"},
      {"wrong-sequence", "worker wrong-sequence: answer 77 to request 1"},
      {"no-layout", "worker no-layout: values for layout 1, which was not sent"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.mode);
    WorkerClient client(settings(c.mode));
    const std::int64_t at = now();
    auto batch = ask(client, at);
    if (batch && batch->health.ok) {  // "unasked": the right answer may come alone before the wrong one
      wait_for_change(client, at);
      batch = client.batch(at);
    }
    ASSERT_TRUE(batch);
    EXPECT_FALSE(batch->health.ok);
    EXPECT_EQ(told(*batch, c.mode), c.error);
    EXPECT_EQ(client.stats().crashes, 1U);
    EXPECT_EQ(client.fd(), -1);
  }
}

TEST(Worker, AnAnswerByteByByte) {
  WorkerClient client(settings("slow-bytes"));
  const auto batch = ask(client, now());
  ASSERT_TRUE(batch);
  EXPECT_EQ(exposition(*batch), expected(1));
}

TEST(Worker, HalfAnAnswerMeetsTheDeadline) {
  WorkerClient client(settings("truncated-then-silent"));
  const auto at = now();
  client.request(at);
  pollfd p{client.fd(), POLLIN, 0};
  ASSERT_EQ(poll(&p, 1, 20'000), 1);
  EXPECT_FALSE(client.advance(at));
  EXPECT_TRUE(client.advance(at + 6 * kSecond));
  EXPECT_EQ(client.batch(at + 6 * kSecond)->health.error->kind, Errc::timeout);
}

TEST(Worker, CrashKeepsTheLastGoodBatch) {
  WorkerClient client(settings("segfault-second"));
  auto at = now();
  ask(client, at);
  at += kSecond;
  const auto batch = ask(client, at);
  EXPECT_THAT(batch->health.error->text, HasSubstr("signal 11"));
  EXPECT_EQ(exposition(*batch), expected(1));
}

// Whether it answers is old as soon as it does not, for each of those that it asks.
TEST(Worker, NobodyIsUpBehindOneThatEnded) {
  WorkerClient client(settings("upsecond"));
  auto at = now();
  EXPECT_THAT(exposition(*ask(client, at)), HasSubstr("upsecond_up{collector=\"dcmi\"} 1\n"));
  at += kSecond;
  EXPECT_EQ(exposition(*ask(client, at)),
            "test_runs_total 7\nupsecond_up{collector=\"dcmi\"} 0\nupsecond_up{collector=\"ipmi\"} 0\n");
}

TEST(Worker, KilledFromOutsideBetweenRequests) {
  WorkerClient client(settings("good"));
  auto at = now();
  ask(client, at);
  kill(client.stats().pid, SIGKILL);
  wait_for_change(client, at);
  EXPECT_EQ(client.batch(at)->health.error->text, "worker good: signal 9 (Killed)");
  at += kSecond;
  EXPECT_TRUE(ask(client, at)->health.ok);
}

TEST(Worker, DestructorEndsIt) {
  for (const auto* mode : {"good", "hang-second", "hang-ignoring-sigterm"}) {
    SCOPED_TRACE(mode);
    int pid = -1;
    {
      WorkerClient client(settings(mode));
      client.request(now());
      pid = client.stats().pid;
      ASSERT_GT(pid, 0);
    }
    EXPECT_TRUE(ends(pid));
  }
}

TEST(Worker, InheritsOnlyStandardDescriptors) {
  const Fd leak(dup(STDERR_FILENO));
  WorkerClient client(settings("descriptors"));
  EXPECT_EQ(exposition(*ask(client, now())), "test_open_descriptors 3\n");
}

// "agent MODE": starts a worker, prints its pid and is then killed.
int act_as_agent(const std::string& mode) {
  WorkerClient client(settings(mode));
  client.request(now());
  const Decimal pid(client.stats().pid);
  write_raw(std::string_view(pid));
  write_raw("\n");
  for (;;) pause();
}

TEST(Worker, EndsWithACrashedAgent) {
  for (const auto* mode : {"good", "hang-ignoring-sigterm"}) {
    SCOPED_TRACE(mode);
    int fds[2];
    ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
    const Fd read_end(fds[0]);
    Fd write_end(fds[1]);
    ProcessSettings p;
    p.path = "/proc/self/exe";
    p.arguments = {"agent", "agent", mode};
    p.out = write_end.get();
    auto agent = Process::start(p);
    ASSERT_TRUE(agent);
    write_end.reset();
    char text[32] = {};
    ASSERT_GT(read(read_end.get(), text, sizeof text - 1), 0);
    const auto pid = parse_int<int>(trim(text));
    ASSERT_TRUE(pid) << text;
    ASSERT_EQ(kill(*pid, 0), 0);
    kill(agent->pid(), SIGKILL);  // not the group: the worker must notice by itself
    EXPECT_TRUE(agent->wait(10 * kSecond));
    EXPECT_TRUE(ends(*pid));
  }
}

// Bytes that nobody sent on purpose: every prefix and every flipped byte of a real answer.
TEST(WorkerFrame, DamageIsAnErrorOrAnotherNumber) {
  BatchWriter writer("x");
  writer.begin(0);
  emit_all(writer, 1);
  AnswerWriter answers;
  const std::string frame(answers.write(1, *writer.finish({}, 0, 0)));
  for (std::size_t i = 0; i < frame.size(); ++i) {
    std::string_view rest = std::string_view(frame).substr(0, i), payload;
    bool malformed = false;
    EXPECT_FALSE(take_frame(rest, payload, malformed));
    EXPECT_FALSE(malformed);
  }
  const std::string_view good = std::string_view(frame).substr(4);
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string bad(good);
      bad[i] = static_cast<char>(bad[i] ^ flip);
      AnswerReader reader("x");
      if (const auto answer = reader.read(bad, 0)) {
        EXPECT_EQ(answer->batch->values.size(), answer->batch->layout->value_count());
      }
    }
    AnswerReader reader("x");
    if (const auto answer = reader.read(good.substr(0, i), 0)) {
      EXPECT_EQ(answer->batch->values.size(), answer->batch->layout->value_count());
    }
  }
}

}  // namespace
}  // namespace vitald

int main(int argc, char** argv) {
  if (argc >= 3 && std::strcmp(argv[1], "worker") == 0) return vitald::act_as_worker(argv[2]);
  if (argc >= 3 && std::strcmp(argv[1], "agent") == 0) return vitald::act_as_agent(argv[2]);
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
