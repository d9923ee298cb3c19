// SPDX-License-Identifier: Apache-2.0
#include "exporters/deliver/command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>

#include "core/clock.h"
#include "core/instruments.h"
#include "core/log.h"
#include "core/os/process.h"
#include "core/text/json.h"

namespace vitald {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::size_t kMaxOutput = 4096;
// The kernel takes 128 KiB per string of the environment (MAX_ARG_STRLEN) and fails exec beyond.
constexpr std::size_t kMaxVariable = 100 * 1024;

std::string rfc3339(std::int64_t epoch_ms) {
  const std::time_t seconds = epoch_ms / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec, epoch_ms % 1000);
}

std::string value_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

const char* status_of(const AlertTransition& t) { return t.firing ? "firing" : "resolved"; }
// Since when it fires, as Prometheus tells Alertmanager: not since when it is pending.
std::int64_t starts_at_ms(const Alert& a) { return a.fired_at_ms != 0 ? a.fired_at_ms : a.active_at_ms; }

LabelMap labels_of(const AlertTransition& t, const CommandHookSettings& settings) {
  LabelMap labels = t.alert.labels;
  labels.insert(settings.external_labels.begin(), settings.external_labels.end());  // the alert's own win
  return labels;
}

std::string get(const LabelMap& map, const std::string& key) {
  const auto it = map.find(key);
  return it == map.end() ? std::string() : it->second;
}

void append_map(std::string& out, const LabelMap& map) {
  char separator = '{';
  for (const auto& [name, value] : map) {
    out += separator;
    append_json_string(out, name);
    out += ':';
    append_json_string(out, value);
    separator = ',';
  }
  out += map.empty() ? "{}" : "}";
}

std::string map_json(const LabelMap& map) {
  std::string out;
  append_map(out, map);
  return out;
}

std::vector<std::string> environment_of(const AlertTransition& t, const CommandHookSettings& settings) {
  const auto labels = labels_of(t, settings);
  const auto& alert = t.alert;
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  const char* lang = std::getenv("LANG");
  std::vector<std::string> out = {
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      fmt::format("LANG={}", lang ? lang : "C.UTF-8"),
      fmt::format("HOSTNAME={}", host.data()),
      fmt::format("VITALD_ALERT_NAME={}", get(labels, "alertname")),
      fmt::format("VITALD_ALERT_STATUS={}", status_of(t)),
      fmt::format("VITALD_ALERT_SEVERITY={}", get(labels, "severity")),
      fmt::format("VITALD_ALERT_FINGERPRINT={:016x}", alert.fingerprint),
      fmt::format("VITALD_ALERT_STARTS_AT={}", rfc3339(starts_at_ms(alert))),
      fmt::format("VITALD_ALERT_ENDS_AT={}", t.firing ? "" : rfc3339(alert.resolved_at_ms)),
      fmt::format("VITALD_ALERT_VALUE={}", value_text(alert.value)),
      fmt::format("VITALD_ALERT_SUMMARY={}", get(alert.annotations, "summary")),
      fmt::format("VITALD_ALERT_LABELS={}", map_json(labels)),
  };
  std::erase_if(out, [](const std::string& variable) { return variable.size() > kMaxVariable; });
  return out;
}

struct Pipe {
  Fd read, write;
};
Result<Pipe> make_pipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return fail(from_errno("pipe", errno));
  return Pipe{Fd(fds[0]), Fd(fds[1])};
}

bool set_nonblocking(const Fd& fd) { return fcntl(fd.get(), F_SETFL, O_NONBLOCK) == 0; }

}  // namespace

std::string webhook_json(const AlertTransition& t, const CommandHookSettings& settings) {
  const auto labels = labels_of(t, settings);
  const auto& alert = t.alert;
  // One alert per message is what Alertmanager sends with group_by: ['...'], where the group is all labels.
  std::string key = "{}:{";
  for (const auto& [name, value] : labels) {
    if (key.back() != '{') key += ", ";
    key += name + '=';
    append_json_string(key, value);
  }
  key += '}';

  std::string out = "{\"receiver\":";
  append_json_string(out, settings.name);
  out += fmt::format(R"(,"status":"{}","alerts":[{{"status":"{}","labels":)", status_of(t), status_of(t));
  append_map(out, labels);
  out += ",\"annotations\":";
  append_map(out, alert.annotations);
  // The zero time of Go is what Alertmanager sends for "not yet".
  out += fmt::format(R"(,"startsAt":"{}","endsAt":"{}","generatorURL":)", rfc3339(starts_at_ms(alert)),
                     t.firing ? "0001-01-01T00:00:00Z" : rfc3339(alert.resolved_at_ms));
  append_json_string(out, settings.external_url);
  out += fmt::format(R"(,"fingerprint":"{:016x}","value":"{}"}}],"groupLabels":)", alert.fingerprint,
                     value_text(alert.value));
  append_map(out, labels);
  out += ",\"commonLabels\":";
  append_map(out, labels);
  out += ",\"commonAnnotations\":";
  append_map(out, alert.annotations);
  out += ",\"externalURL\":";
  append_json_string(out, settings.external_url);
  out += R"(,"version":"4","groupKey":)";
  append_json_string(out, key);
  out += ",\"truncatedAlerts\":0}";
  return out;
}

struct CommandHook::Impl {
  explicit Impl(CommandHookSettings s)
      : settings(std::move(s)),
        ok(runs("ok")),
        failed(runs("failed")),
        timeout(runs("timeout")),
        not_started(runs("not_started")),
        duration(instruments().histogram("vitald_hook_duration_seconds", "How long the commands run for alerts took.",
                                         {0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30}, {{"hook", settings.name}})),
        queue_length(instruments().gauge("vitald_hook_queue_length", "Alert transitions that wait for the command.",
                                         {{"hook", settings.name}})),
        dropped(instruments().counter("vitald_hook_dropped_total",
                                      "Alert transitions dropped because the queue was full.",
                                      {{"hook", settings.name}})),
        wake(eventfd(0, EFD_CLOEXEC)),
        stop(eventfd(0, EFD_CLOEXEC)),
        thread([this] { loop(); }) {}

  ~Impl() {
    poke(stop);
    thread.join();
    queue_length.Set(0);
  }

  static void poke(const Fd& fd) {
    const std::uint64_t one = 1;
    static_cast<void>(::write(fd.get(), &one, sizeof one));
  }

  // Waits for `fd` (or without one) or the end; false: the end.
  [[nodiscard]] bool wait_for(int fd) const {
    pollfd p[] = {{stop.get(), POLLIN, 0}, {fd, POLLIN, 0}};
    while (poll(p, 2, -1) < 0 && errno == EINTR) {
    }
    return p[0].revents == 0;
  }

  void loop() {
    sigset_t all;  // signals are the main thread's; SIGPIPE from a command that closes its input is nobody's
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    while (wait_for(wake.get())) {
      std::uint64_t count;
      static_cast<void>(::read(wake.get(), &count, sizeof count));
      while (auto transition = next()) {
        if (!run(*transition)) return;
      }
    }
  }

  std::optional<AlertTransition> next() {
    const std::lock_guard lock(mutex);
    if (queue.empty()) return std::nullopt;
    auto first = std::move(queue.front());
    queue.pop_front();
    queue_length.Set(static_cast<double>(queue.size()));
    return first;
  }

  void report(const AlertTransition& t, std::string_view what, std::string_view output) const {
    log::warn("hook: " + std::string(what),
              {{"hook", settings.name},
               {"command", settings.command.empty() ? std::string_view{} : std::string_view(settings.command[0])},
               {"alert", get(t.alert.labels, "alertname")},
               {"status", status_of(t)},
               {"output", output}});
  }

  // False: the hook ends.
  bool run(const AlertTransition& t) {
    const auto begin = SystemClock::read(CLOCK_BOOTTIME);
    std::string input = webhook_json(t, settings), output;
    Fd to, from;
    auto started = start(t, to, from);
    if (!started) {
      not_started.Increment();
      report(t, started.error().text, "");
      return true;
    }
    Process process = std::move(*started);
    std::string_view rest = input;
    bool stopping = false, late = false;
    for (;;) {
      const auto left_ns = begin + settings.timeout_ns - SystemClock::read(CLOCK_BOOTTIME);
      late = left_ns <= 0;
      if (late) break;
      pollfd p[] = {{stop.get(), POLLIN, 0},
                    {process.pidfd(), POLLIN, 0},
                    {from.get(), POLLIN, 0},  // a negative one is ignored
                    {to.get(), POLLOUT, 0}};
      if (poll(p, 4, static_cast<int>(left_ns / kMs) + 1) < 0 && errno != EINTR) break;
      if (p[2].revents != 0 && !read_some(from, output)) from.reset();
      if (p[3].revents != 0 && !write_some(to, rest)) to.reset();
      stopping = p[0].revents != 0;
      if (stopping || p[1].revents != 0) break;
    }
    if (late || stopping) end(process);
    if (from) read_some(from, output);
    auto exit = process.reap();
    duration.Observe(static_cast<double>(SystemClock::read(CLOCK_BOOTTIME) - begin) / 1e9);
    if (stopping) return false;
    if (late) {
      timeout.Increment();
      report(t, fmt::format("no end within {} ms, {}", settings.timeout_ns / kMs, exit ? "killed" : "cannot be killed"),
             output);
      // In D state: never a second one beside it. What comes meanwhile fills the queue.
      return exit || wait_for(process.pidfd());
    }
    if (exit && exit->ok()) {
      ok.Increment();
    } else {
      failed.Increment();
      report(t, exit ? exit->text() : "lost", output);
    }
    return true;
  }

  Result<Process> start(const AlertTransition& t, Fd& to, Fd& from) const {
    if (settings.command.empty()) return fail(Errc::malformed, "no command");
    ProcessSettings p;
    p.path = settings.command[0];
    p.arguments = settings.command;
    p.environment = environment_of(t, settings);
    p.directory = "/";
    if (!settings.user.empty() || geteuid() == 0) {
      auto user = find_user(settings.user.empty() ? "nobody" : settings.user);
      if (!user) return fail(std::move(user.error()));
      p.user = *user;
    }
    auto in = make_pipe(), out = make_pipe();
    if (!in) return fail(std::move(in.error()));
    if (!out) return fail(std::move(out.error()));
    p.in = in->read.get();
    p.out = p.err = out->write.get();
    // A pipe belongs to its maker; without this `echo >/dev/stderr` is refused to another user.
    if (p.user && (fchown(p.in, p.user->uid, p.user->gid) != 0 || fchown(p.out, p.user->uid, p.user->gid) != 0))
      return fail(from_errno("pipe: chown", errno));
    if (!set_nonblocking(in->write) || !set_nonblocking(out->read)) return fail(from_errno("pipe: fcntl", errno));
    auto process = Process::start(p);
    to = std::move(in->write);
    from = std::move(out->read);
    return process;
  }

  // False: it is closed. Keeps the last bytes: an error message stands at the end.
  static bool read_some(const Fd& fd, std::string& output) {
    for (int i = 0; i < 64; ++i) {
      char chunk[4096];
      const auto n = ::read(fd.get(), chunk, sizeof chunk);
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      if (n == 0) return false;
      output.append(chunk, static_cast<std::size_t>(n));
      if (output.size() > kMaxOutput) output.erase(0, output.size() - kMaxOutput);
    }
    return true;
  }

  // False: all is written, or the command does not want it.
  static bool write_some(const Fd& fd, std::string_view& rest) {
    const auto n = ::write(fd.get(), rest.data(), rest.size());
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    rest.remove_prefix(static_cast<std::size_t>(n));
    return !rest.empty();
  }

  // SIGTERM, so that a script can clean up, then SIGKILL for whoever is left of the group.
  static void end(Process& process) {
    process.signal_group(SIGTERM);
    pollfd p{process.pidfd(), POLLIN, 0};
    poll(&p, 1, 300);
    process.signal_group(SIGKILL);
    poll(&p, 1, 300);
  }

  const CommandHookSettings settings;
  [[nodiscard]] prometheus::Counter& runs(const char* result) const {
    return instruments().counter("vitald_hook_runs_total", "Commands run for alerts, by how they ended.",
                                 {{"hook", settings.name}, {"result", result}});
  }
  prometheus::Counter &ok, &failed, &timeout, &not_started;
  prometheus::Histogram& duration;
  prometheus::Gauge& queue_length;
  prometheus::Counter& dropped;
  const Fd wake, stop;
  std::mutex mutex;
  std::deque<AlertTransition> queue;  // guarded by mutex
  std::thread thread;                 // last: it uses the rest
};

CommandHook::CommandHook(CommandHookSettings settings) : impl_(std::make_unique<Impl>(std::move(settings))) {}
CommandHook::~CommandHook() = default;
const CommandHookSettings& CommandHook::settings() const { return impl_->settings; }

void CommandHook::notify(const AlertTransition& transition) {
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->queue.size() >= impl_->settings.queue_limit) {
      impl_->dropped.Increment();
      if (impl_->queue.empty()) return;  // a limit of 0
      impl_->queue.pop_front();
    }
    impl_->queue.push_back(transition);
    impl_->queue_length.Set(static_cast<double>(impl_->queue.size()));
  }
  Impl::poke(impl_->wake);
}

}  // namespace vitald
