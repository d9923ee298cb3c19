// SPDX-License-Identifier: Apache-2.0
#include "exporters/deliver/command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <utility>

#include "core/clock.h"
#include "core/instruments.h"
#include "core/log.h"
#include "core/os/host_name.h"
#include "core/os/privileges.h"
#include "core/os/process.h"
#include "core/text/json.h"
#include "core/text/scan.h"
#include "exporters/deliver/queue.h"

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

// What the alert adds to the environment.
std::vector<std::string> variables_of(const AlertTransition& t, const CommandHookSettings& settings) {
  const auto labels = labels_of(t, settings);
  const auto& alert = t.alert;
  std::vector<std::string> out = {
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

std::vector<std::string> environment_with(std::span<const std::string_view> variables) {
  const char* lang = std::getenv("LANG");
  std::vector<std::string> out = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                  fmt::format("LANG={}", lang ? lang : "C.UTF-8"),
                                  fmt::format("HOSTNAME={}", host_name())};
  out.insert(out.end(), variables.begin(), variables.end());
  return out;
}

// The body of an item: texts, each behind its length (4 bytes, little endian). The first is what the command reads,
// the others are variables. It is complete, since the run that delivers it may be a later one.
void append_part(std::string& body, std::string_view text) {
  for (int shift = 0; shift < 32; shift += 8) body += static_cast<char>(text.size() >> shift & 0xff);
  body += text;
}

Item item_of(const AlertTransition& t, const CommandHookSettings& settings) {
  Item item;
  const auto& a = t.alert;
  // What the receiver can tell a second delivery by is in the payload too: fingerprint, status and times.
  item.key = fmt::format("{} {:016x} {} {}", status_of(t), a.fingerprint,
                         rfc3339(t.firing ? starts_at_ms(a) : a.resolved_at_ms), get(a.labels, "alertname"));
  item.wall_ms = t.firing ? starts_at_ms(a) : a.resolved_at_ms;
  append_part(item.body, webhook_json(t, settings));
  for (const auto& variable : variables_of(t, settings)) append_part(item.body, variable);
  return item;
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
  out += ",\"host\":";  // not Alertmanager's: it knows a host by labels, which need not say it
  append_json_string(out, host_name());
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

std::optional<std::vector<std::string_view>> parts_of(std::string_view body) {
  std::vector<std::string_view> parts;
  while (!body.empty()) {
    if (body.size() < 4) return std::nullopt;
    std::size_t size = 0;
    for (int i = 0; i < 4; ++i)
      size |= static_cast<std::size_t>(static_cast<unsigned char>(body[static_cast<std::size_t>(i)])) << 8 * i;
    body.remove_prefix(4);
    if (size > body.size()) return std::nullopt;
    parts.push_back(body.substr(0, size));
    body.remove_prefix(size);
  }
  if (parts.empty()) return std::nullopt;
  return parts;
}

namespace {

// Runs the command, one at a time.
class CommandDestination final : public Destination {
 public:
  explicit CommandDestination(const CommandHookSettings& settings)
      : settings_(settings),
        ok_(runs("ok")),
        failed_(runs("failed")),
        timeout_(runs("timeout")),
        not_started_(runs("not_started")),
        duration_(instruments().histogram("vitald_hook_duration_seconds", "How long the commands run for alerts took.",
                                          {0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30}, {{"hook", settings.name}})) {}

  // A command that ran is not run again, however it ended: it knows best whether the message went out. One that the
  // end of vitald cut off is, and one for which the machine had no process or memory.
  Result<Sent> send(std::span<const Item> items, const Attempt& attempt) override {
    const auto& item = items.front();
    const auto parts = parts_of(item.body);
    if (!parts) {
      report(item, "what an earlier version kept cannot be read", "");
      return Sent{1, 1, 0};
    }
    const auto begin = SystemClock::read(CLOCK_BOOTTIME);
    std::string_view rest = parts->front();
    std::string output;
    Fd to, from;
    auto started = start(std::span(*parts).subspan(1), to, from);
    if (!started) {
      not_started_.Increment();
      const auto err = started.error().err;
      if (err == EAGAIN || err == ENOMEM || err == EMFILE || err == ENFILE) return fail(std::move(started.error()));
      report(item, started.error().text, "");
      return Sent{1, 0, 0};
    }
    Process process = std::move(*started);
    bool stopping = false, late = false;
    for (;;) {
      const auto left_ns = attempt.deadline_boot_ns - SystemClock::read(CLOCK_BOOTTIME);
      late = left_ns <= 0;
      if (late) break;
      pollfd p[] = {{attempt.stop_fd, POLLIN, 0},
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
    duration_.Observe(static_cast<double>(SystemClock::read(CLOCK_BOOTTIME) - begin) / 1e9);
    if (late) {
      timeout_.Increment();
      report(item,
             fmt::format("no end within {} ms, {}", settings_.timeout_ns / kMs, exit ? "killed" : "cannot be killed"),
             output);
      // In D state: never a second one beside it. What comes meanwhile fills the queue.
      if (!exit) wait_for_end(process, attempt.stop_fd);
      return Sent{1, 0, 0};
    }
    if (stopping && !(exit && exit->ok())) return Sent{};
    if (exit && exit->ok()) {
      ok_.Increment();
    } else {
      failed_.Increment();
      report(item, exit ? exit->text() : "lost", output);
    }
    return Sent{1, 0, 0};
  }

 private:
  void report(const Item& item, std::string_view what, std::string_view output) const {
    std::string_view name = item.key;
    const auto status = take_until(name, ' ');
    for (int i = 0; i < 2; ++i) take_until(name, ' ');
    log::warn("hook: " + std::string(what),
              {{"hook", settings_.name},
               {"command", settings_.command.empty() ? std::string_view{} : std::string_view(settings_.command[0])},
               {"alert", name},
               {"status", status},
               {"output", output}});
  }

  [[nodiscard]] prometheus::Counter& runs(const char* result) const {
    return instruments().counter("vitald_hook_runs_total", "Commands run for alerts, by how they ended.",
                                 {{"hook", settings_.name}, {"result", result}});
  }

  static void wait_for_end(const Process& process, int stop_fd) {
    pollfd p[] = {{stop_fd, POLLIN, 0}, {process.pidfd(), POLLIN, 0}};
    while (poll(p, 2, -1) < 0 && errno == EINTR) {
    }
  }

  Result<Process> start(std::span<const std::string_view> variables, Fd& to, Fd& from) const {
    if (settings_.command.empty()) return fail(Errc::malformed, "no command");
    ProcessSettings p;
    p.path = settings_.command[0];
    p.arguments = settings_.command;
    p.environment = environment_with(variables);
    p.directory = "/";
    // Root in a container that may change no user (capabilities: drop ALL) stays the root it is, without a capability.
    const bool leave_root = geteuid() == 0 && has_capability(CAP_SETUID);
    using enum ProcessSettings::Privileges;
    p.privileges = geteuid() == 0 && !leave_root ? nothing_for_good : nothing;
    if (!settings_.user.empty() || leave_root) {
      auto user = find_user(settings_.user.empty() ? "nobody" : settings_.user);
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

  const CommandHookSettings settings_;
  prometheus::Counter &ok_, &failed_, &timeout_, &not_started_;
  prometheus::Histogram& duration_;
};

QueueSettings queue_settings(const CommandHookSettings& settings) {
  QueueSettings q;
  q.name = settings.name;
  q.journal = true;
  q.most_items = settings.queue_limit;
  q.attempt_ns = settings.timeout_ns;
  auto& length = instruments().gauge("vitald_hook_queue_length", "Alert transitions that wait for the command.",
                                     {{"hook", settings.name}});
  auto& dropped = instruments().counter(
      "vitald_hook_dropped_total", "Alert transitions dropped because the queue was full.", {{"hook", settings.name}});
  q.on_change = [&length, &dropped, told = std::uint64_t{0}](const QueueStats& now) mutable {
    length.Set(static_cast<double>(now.waiting));
    dropped.Increment(static_cast<double>(now.full - told));
    told = now.full;
  };
  return q;
}

const Clock& clock() {
  static const SystemClock system;
  return system;
}

}  // namespace

CommandHook::CommandHook(CommandHookSettings settings, std::shared_ptr<const StateDir> state,
                         std::unique_ptr<CommandHook> before)
    : settings_(std::move(settings)) {
  auto rest = before ? before->queue_->end() : std::vector<Item>();
  before.reset();  // its folder is free for this one
  queue_ = std::make_unique<Queue>(queue_settings(settings_), std::make_unique<CommandDestination>(settings_),
                                   std::move(state), clock());
  queue_->push(std::move(rest));
}
CommandHook::~CommandHook() = default;

void CommandHook::notify(std::span<const AlertTransition> transitions) {
  std::vector<Item> items;
  for (const auto& t : transitions) items.push_back(item_of(t, settings_));
  queue_->push(std::move(items));
}
void CommandHook::stop() { queue_->stop(); }
void CommandHook::measure() { queue_->measure(); }

}  // namespace vitald
