// SPDX-License-Identifier: Apache-2.0
#include "agent/worker/client.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <random>
#include <utility>

#include "agent/worker/frame.h"
#include "core/log.h"
#include "core/os/privileges.h"
#include "core/os/process.h"

namespace vitald {
namespace {

// How long a killed process may take to vanish before it counts as stuck.
constexpr std::int64_t kStuckAfterNs = 1'000'000'000;
// Per call of advance(), so that a worker that floods its pipe cannot hold the agent.
constexpr std::size_t kMaxReadBytes = 4U << 20;

// What belongs to the agent's own supervisor stays with the agent.
std::vector<std::string> worker_environment() {
  std::vector<std::string> out;
  for (char** e = environ; *e; ++e) {
    const std::string_view entry = *e;
    const bool ours =
        entry.starts_with("NOTIFY_SOCKET=") || entry.starts_with("WATCHDOG_") || entry.starts_with("LISTEN_");
    if (!ours) out.emplace_back(entry);
  }
  return out;
}

}  // namespace

struct WorkerClient::Impl {
  explicit Impl(WorkerSettings s)
      : settings(std::move(s)), up(settings.collector + "_up"), reader(settings.collector) {}

  WorkerSettings settings;
  const std::string up;
  AnswerReader reader;
  Process process;  // running() until it is reaped, so also while it is dying or stuck
  Fd socket;
  std::string input;
  std::uint64_t sequence = 0;
  std::int64_t asked_ns = 0;  // 0: nothing in flight
  std::int64_t killed_ns = 0;
  std::int64_t next_start_ns = 0, backoff_ns = 0;
  BatchPtr good;  // the last answer
  BatchPtr shown;
  std::optional<Error> trouble;
  Stats stats;
  std::int64_t cpu_dead_ns = 0, cpu_alive_ns = 0;  // of the processes that ended, of this one
  std::minstd_rand random{static_cast<std::minstd_rand::result_type>(getpid() ^ SystemClock::read(CLOCK_MONOTONIC))};

  [[nodiscard]] BatchPtr failed(bool with_values) const {
    if (!with_values) {
      BatchWriter writer(settings.collector);
      writer.begin(good ? good->collected_boot_ns : 0);
      return writer.finish(fail(*trouble), 0, 0);
    }
    auto copy = std::make_shared<Batch>(*good);
    copy->health.ok = false;
    copy->health.error = trouble;
    // libvirt_up, ipmi_up{collector} and the like say whether it answers: that is old as soon as it does not.
    for (const auto& sample : copy->layout->samples())
      if (sample.family->name == up) copy->values[sample.value] = 0;
    return copy;
  }

  // Ends what is there; the next start has to wait.
  void give_up(std::int64_t now, Error error) {
    log::debug("worker ended", {{"collector", settings.collector}, {"err", error.text}});
    trouble = std::move(error);
    shown = failed(good != nullptr);
    asked_ns = 0;
    socket.reset();
    input.clear();
    killed_ns = now;
    process.signal_group(SIGKILL);
    backoff_ns = std::clamp(backoff_ns * 2, settings.backoff_min_ns, settings.backoff_max_ns);
    // Half of it up to all of it: workers of many agents that lost the same server do not come back together.
    next_start_ns = now + std::uniform_int_distribution<std::int64_t>(backoff_ns / 2, backoff_ns)(random);
  }

  void start(std::int64_t now) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
      return give_up(now, from_errno("worker: socketpair", errno));
    Fd ours(pair[0]), theirs(pair[1]);
    ProcessSettings p;
    p.path = "/proc/self/exe";
    p.arguments = {"vitald", "worker", settings.collector};
    p.arguments.insert(p.arguments.end(), settings.arguments.begin(), settings.arguments.end());
    p.environment = worker_environment();
    p.in = p.out = theirs.get();
    p.more = settings.memory;
    if (settings.memory >= 0) p.environment.push_back(settings.memory_variable + "=3");
    p.err = STDERR_FILENO;
    p.parent_death_signal = SIGKILL;
    // What workers ask answers everybody: files of hwmon, sockets of libvirt and D-Bus. It is libraries that ask. But
    // for disks and the BMC, which answer to root only.
    p.privileges = ProcessSettings::Privileges::nothing_for_good;
    p.keep_capabilities = privileges_of_worker(settings.collector);
    auto started = Process::start(p);
    if (!started) return give_up(now, std::move(started.error()));
    process = std::move(*started);
    socket = std::move(ours);
    reader.reset();
    killed_ns = 0;
    stats.stuck = false;
    ++stats.starts;
  }

  // True when the process is gone.
  bool reap(std::int64_t now) {
    const auto exit = process.reap();
    if (exit) {
      cpu_dead_ns += exit->cpu_ns;
      cpu_alive_ns = 0;
      stats.stuck = false;
      if (killed_ns == 0) {  // by itself
        ++stats.crashes;
        give_up(now, {Errc::io, 0, fmt::format("worker {}: {}", settings.collector, exit->text())});
      }
    }
    return !process.running();
  }

  bool take(std::string_view payload, std::int64_t now) {
    auto answer = reader.read(payload, asked_ns);
    if (answer && (asked_ns == 0 || answer->sequence != sequence))
      answer = fail(Errc::malformed, fmt::format("answer {} to request {}", answer->sequence, sequence));
    if (!answer) {
      ++stats.crashes;
      give_up(now, {Errc::malformed, 0, fmt::format("worker {}: {}", settings.collector, answer.error().text)});
      return false;
    }
    asked_ns = 0;
    backoff_ns = 0;
    trouble.reset();
    cpu_alive_ns += answer->batch->health.cpu_ns;
    shown = good = std::move(answer->batch);
    return true;
  }

  // True when something was received or the other side is gone.
  bool receive(std::int64_t now) {
    bool changed = false, end = false;
    for (std::size_t total = 0; total < kMaxReadBytes;) {
      char chunk[65536];
      const auto n = recv(socket.get(), chunk, sizeof chunk, MSG_DONTWAIT);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
      end = n <= 0;
      if (end) break;
      input.append(chunk, static_cast<std::size_t>(n));
      total += static_cast<std::size_t>(n);
      if (static_cast<std::size_t>(n) < sizeof chunk) break;
    }
    std::string_view rest = input, payload;
    bool malformed = false;
    while (take_frame(rest, payload, malformed)) {
      changed = true;
      if (!take(payload, now)) return true;
    }
    if (malformed) {
      ++stats.crashes;
      give_up(now, {Errc::malformed, 0,
                    fmt::format("worker {}: a frame of more than {} bytes", settings.collector, kMaxFrameBytes)});
      return true;
    }
    input.erase(0, input.size() - rest.size());
    if (end) {  // closed: it is ending or has ended; its status says why
      const auto exit = process.wait(20'000'000);
      ++stats.crashes;
      if (exit) {
        cpu_dead_ns += exit->cpu_ns;
        cpu_alive_ns = 0;
      }
      give_up(now, {Errc::io, 0,
                    fmt::format("worker {}: {}", settings.collector, exit ? exit->text() : "closed its output")});
      changed = true;
    }
    return changed;
  }
};

WorkerClient::WorkerClient(WorkerSettings settings) : impl_(std::make_unique<Impl>(std::move(settings))) {}

WorkerClient::~WorkerClient() {
  auto& m = *impl_;
  if (!m.process.running()) return;
  m.socket.reset();
  m.process.signal_group(SIGTERM);
  if (m.process.wait(100'000'000)) return;
  m.process.signal_group(SIGKILL);  // stopped, or it ignores SIGTERM
  m.process.wait(100'000'000);
}

void WorkerClient::request(std::int64_t now) {
  auto& m = *impl_;
  if (m.asked_ns != 0) return;
  if (m.process.running() && m.killed_ns != 0 && !m.reap(now)) return;  // never a second one beside a stuck one
  if (!m.process.running()) {
    if (now < m.next_start_ns) return;
    m.start(now);
    if (!m.process.running()) return;
  }
  std::string bytes;
  append_request(bytes, ++m.sequence);
  const auto n = send(m.socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  // A request is some bytes and only one is ever in flight: it fits, or the other side is gone, which the
  // deadline or the next read tells.
  static_cast<void>(n);
  m.asked_ns = now;
}

int WorkerClient::fd() const { return impl_->socket.get(); }
bool WorkerClient::busy() const { return impl_->asked_ns != 0; }

bool WorkerClient::advance(std::int64_t now) {
  auto& m = *impl_;
  if (!m.process.running()) return false;
  if (m.killed_ns != 0) {
    if (!m.reap(now) && !m.stats.stuck && now - m.killed_ns > kStuckAfterNs) {
      m.stats.stuck = true;
      log::error("worker does not end after SIGKILL: it waits in the kernel (state D); no other is started",
                 {{"collector", m.settings.collector}, {"pid", std::to_string(m.process.pid())}});
    }
    return false;
  }
  bool changed = m.receive(now);
  if (m.asked_ns != 0 && now - m.asked_ns > m.settings.deadline_ns) {
    ++m.stats.deadline_kills;
    m.give_up(now, {Errc::timeout, 0,
                    fmt::format("worker {}: no answer within {} ms, killed", m.settings.collector,
                                m.settings.deadline_ns / 1'000'000)});
    changed = true;
  }
  return changed;
}

BatchPtr WorkerClient::batch(std::int64_t now) const {
  auto& m = *impl_;
  if (m.good && now - m.good->collected_boot_ns > m.settings.drop_after_ns) {
    if (!m.trouble)  // nobody asked, or the answer is late
      m.trouble = {Errc::timeout, 0, fmt::format("worker {}: no newer answer", m.settings.collector)};
    m.shown = m.failed(false);
    m.good.reset();
  }
  return m.shown;
}

WorkerClient::Stats WorkerClient::stats() const {
  auto stats = impl_->stats;
  stats.pid = static_cast<int>(impl_->process.pid());
  stats.cpu_ns = impl_->cpu_dead_ns + impl_->cpu_alive_ns;
  return stats;
}

}  // namespace vitald
