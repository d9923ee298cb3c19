// SPDX-License-Identifier: Apache-2.0
#include "exporters/deliver/command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/stat.h>
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
#include "exporters/deliver/alert_message.h"
#include "exporters/deliver/parts.h"

namespace vitald {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::size_t kMaxOutput = 4096;
// The kernel takes 128 KiB per string of the environment (MAX_ARG_STRLEN) and fails exec beyond.
constexpr std::size_t kMaxVariable = 100 * 1024;

// What the alert adds to the environment.
std::vector<std::string> variables_of(const AlertTransition& t, const CommandReceiver& settings) {
  const auto labels = labels_of(t, settings);
  const auto& alert = t.alert;
  std::vector<std::string> out = {
      fmt::format("VITALD_ALERT_NAME={}", label_of(labels, "alertname")),
      fmt::format("VITALD_ALERT_STATUS={}", status_of(t)),
      fmt::format("VITALD_ALERT_SEVERITY={}", label_of(labels, "severity")),
      fmt::format("VITALD_ALERT_FINGERPRINT={:016x}", alert.fingerprint),
      fmt::format("VITALD_ALERT_TRANSITION={}", t.number),
      fmt::format("VITALD_ALERT_STARTS_AT={}", rfc3339(starts_at_ms(alert))),
      fmt::format("VITALD_ALERT_ENDS_AT={}", t.firing ? "" : rfc3339(alert.resolved_at_ms)),
      fmt::format("VITALD_ALERT_VALUE={}", value_text(alert.value)),
      fmt::format("VITALD_ALERT_SUMMARY={}", label_of(alert.annotations, "summary")),
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

struct Pipe {
  Fd read, write;
};
Result<Pipe> make_pipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return fail(from_errno("pipe", errno));
  return Pipe{Fd(fds[0]), Fd(fds[1])};
}

bool set_nonblocking(const Fd& fd) { return fcntl(fd.get(), F_SETFL, O_NONBLOCK) == 0; }

// Runs the command, one at a time.
class CommandDestination final : public Destination {
 public:
  explicit CommandDestination(const CommandReceiver& settings)
      : settings_(settings),
        ok_(runs("ok")),
        failed_(runs("failed")),
        timeout_(runs("timeout")),
        not_started_(runs("not_started")),
        duration_(instruments().histogram("vitald_hook_duration_seconds", "How long the commands run for alerts took.",
                                          {0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30}, {{"hook", settings.name}})) {}

  // A command that ran is not run again, however it ended: it knows best whether the message went out. One that the
  // end of vitald cut off is, and one that could not be started: for want of a process, or while it is being upgraded.
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
      return fail(std::move(started.error()));
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
      return Sent{1, 1, 0};
    }
    if (stopping && !(exit && exit->ok())) return Sent{};
    if (exit && exit->ok()) {
      ok_.Increment();
    } else {
      failed_.Increment();
      report(item, exit ? exit->text() : "lost", output);
      return Sent{1, 1, 0};
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

  const CommandReceiver settings_;
  prometheus::Counter &ok_, &failed_, &timeout_, &not_started_;
  prometheus::Histogram& duration_;
};

// What the kernel would run for a script: the word behind #!. Empty: it is no script.
std::string interpreter_of(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char bytes[256];
  const auto n = file ? ::read(file.get(), bytes, sizeof bytes) : -1;
  std::string_view line(bytes, n > 0 ? static_cast<std::size_t>(n) : 0);
  line = take_until(line, '\n');
  if (!take_prefix(line, "#!")) return {};
  return std::string(take_word(line));
}

std::string program_problem(const std::string& path) {
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) return from_errno(path, errno).text + ", expected a program";
  if (!S_ISREG(st.st_mode)) return fmt::format("{} is no file, expected a program", path);
  if (access(path.c_str(), X_OK) != 0)
    return fmt::format("{} is not executable (mode {:04o}), expected a program: chmod +x {}", path, st.st_mode & 07777,
                       path);
  if (const auto runs = interpreter_of(path); !runs.empty() && access(runs.c_str(), X_OK) != 0)
    return fmt::format("{} is a script for {}, which cannot be run: {}", path, runs, from_errno(runs, errno).text);
  return {};
}

constexpr Field<CommandReceiver> kFields[] = {
    kNameField<CommandReceiver>,
    {.key = "command",
     .at = &CommandReceiver::command,
     .help = "The program by its absolute path, and its arguments; no shell. The alert is on its standard input and in "
             "`VITALD_ALERT_*`.",
     .required = "a list: program and arguments",
     .expected = "a list: program and arguments (no shell)",
     .absolute = true},
    timeout_field<CommandReceiver>("A command that runs longer is ended, with all that it started."),
    {.key = "user",
     .at = &CommandReceiver::user,
     .help = "Whom it runs as; without one as `nobody` where vitald is root, else as vitald."},
    kQueueLimitField<CommandReceiver>,
};

}  // namespace

extern const ReceiverKind command_receiver;
constinit const ReceiverKind command_receiver =
    receiver_kind<CommandReceiver, kFields>("commands", "a command that is run for alerts");

std::string CommandReceiver::text() const { return fmt::format("command '{}' ({})", name, fmt::join(command, " ")); }

// The first part is what the command reads, the others are variables.
std::string CommandReceiver::body(const AlertTransition& t) const {
  std::string out;
  append_part(out, webhook_json(t, *this));
  for (const auto& variable : variables_of(t, *this)) append_part(out, variable);
  return out;
}

std::unique_ptr<Destination> CommandReceiver::destination() const {
  return std::make_unique<CommandDestination>(*this);
}

void CommandReceiver::check(std::vector<std::string>& problems) const {
  const auto say = [&](std::string_view what) {
    problems.push_back(fmt::format("notify.commands '{}': {}", name, what));
  };
  if (const auto problem = program_problem(command.at(0)); !problem.empty()) say(problem);
  if (user.empty() && geteuid() != 0) return;
  if (const auto found = find_user(user.empty() ? "nobody" : user); !found)
    say(fmt::format("{}, expected one of this machine", found.error().text));
}

void CommandReceiver::adjust(QueueSettings& q) const {
  auto& length =
      instruments().gauge("vitald_hook_queue_length", "Alert transitions that wait for the command.", {{"hook", name}});
  auto& dropped = instruments().counter("vitald_hook_dropped_total",
                                        "Alert transitions dropped because the queue was full.", {{"hook", name}});
  q.on_change = [&length, &dropped, told = std::uint64_t{0}](const QueueStats& now) mutable {
    length.Set(static_cast<double>(now.waiting));
    dropped.Increment(static_cast<double>(now.full - told));
    told = now.full;
  };
}

}  // namespace vitald
