// SPDX-License-Identifier: Apache-2.0
#include "exporters/deliver/command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <map>
#include <optional>
#include <utility>

#include "core/clock.h"
#include "core/instruments.h"
#include "core/log.h"
#include "core/os/host_name.h"
#include "core/os/privileges.h"
#include "core/os/process.h"
#include "core/os/program.h"
#include "core/os/program_start.h"
#include "core/text/json.h"
#include "core/text/scan.h"
#include "exporters/deliver/alert_message.h"
#include "exporters/deliver/parts.h"
#include "exporters/deliver/receiver_book.h"
#include "exporters/deliver/refusal.h"

namespace vitald {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::size_t kMaxOutput = 4096;
constexpr std::string_view kNeverRan = "; it did not even start, as where its file is on a server that does not answer";
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
  std::vector<std::string> out = {fmt::format("PATH={}", kProgramPath), fmt::format("LANG={}", lang ? lang : "C.UTF-8"),
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

// "firing 0123456789abcdef-7 ...": of one alert no two commands run at the same time, and none before an earlier one.
std::string_view alert_of(std::string_view key) {
  take_until(key, ' ');
  return take_until(key, '-');
}

struct Names {
  std::string_view status, alert;
};
// "firing 0123456789abcdef-7 2026-11-30T04:58:00.000Z DiskFull"
Names names_in(std::string_view key) {
  Names out;
  out.status = take_until(key, ' ');
  for (int i = 0; i < 2; ++i) take_until(key, ' ');
  out.alert = key;
  return out;
}

// One command that runs. One that is late is asked to end (so that a script can clean up), then killed with whoever is
// left of its group.
struct Run {
  enum class Phase : std::uint8_t { starts, runs, asked_to_end, killed, stuck };
  std::size_t item = 0;                       // of the batch
  std::optional<ProgramStart> starting = {};  // until there is a process, in whatever phase
  Process process = {};
  Fd to = {}, from = {};
  std::string_view rest = {};  // of what it reads
  std::string output = {};
  std::int64_t begin_ns = 0, until_ns = 0;
  Phase phase = Phase::starts;
  bool late = false, ran = false;

  void give_up(std::int64_t now_ns) {
    starting->give_up();
    phase = Phase::killed;
    until_ns = now_ns + kPatience;
  }
  void ask_to_end(std::int64_t now_ns) {
    process.signal_group(SIGTERM);
    phase = Phase::asked_to_end;
    until_ns = now_ns + kPatience;
  }
  // Its time is over, in whatever phase. True: it cannot be killed.
  bool go_on(std::int64_t now_ns) {
    switch (phase) {
      case Phase::starts:
        late = true;
        give_up(now_ns);
        return false;
      case Phase::runs:
        late = true;
        ask_to_end(now_ns);
        return false;
      case Phase::asked_to_end:
        process.signal_group(SIGKILL);
        phase = Phase::killed;
        until_ns = now_ns + kPatience;
        return false;
      case Phase::killed:
        phase = Phase::stuck;
        until_ns = INT64_MAX;
        return true;
      case Phase::stuck: break;
    }
    return false;
  }

  static constexpr std::int64_t kPatience = 300 * kMs;
};

// Runs the command for each item, as many at the same time and in a minute as it may.
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

  // A command that ran is not run again, unless `retries` says so: it knows best whether the message went out. One that
  // the end of vitald cut off is, and one that could not be started: for want of a process, or while it is being
  // upgraded.
  Result<Sent> send(std::span<const Item> items, const Attempt& attempt) override {
    Batch batch(items);
    std::erase_if(ended_, [&](const auto& e) { return e.first < items.front().id; });
    std::erase_if(tries_, [&](const auto& e) { return e.first < items.front().id; });
    // Those that ended when one before them was to be run again.
    for (std::size_t i = 0; i < items.size(); ++i)
      if (const auto at = ended_.find(items[i].id); at != ended_.end()) batch.outcomes[i] = at->second;
    std::vector<Run> running;
    bool stopping = false;
    for (;;) {
      auto now_ns = SystemClock::read(CLOCK_BOOTTIME);
      const auto next_start_ns = stopping ? INT64_MAX : start_some(batch, running, now_ns);
      if (running.empty() && next_start_ns == INT64_MAX) break;
      stopping = wait(running, next_start_ns, stopping ? -1 : attempt.stop_fd) || stopping;
      now_ns = SystemClock::read(CLOCK_BOOTTIME);
      for (auto& run : running) {
        if (run.starting && run.starting->done()) born(run, batch);
        if (stopping && run.phase == Run::Phase::starts) run.give_up(now_ns);
        if (stopping && run.phase == Run::Phase::runs) run.ask_to_end(now_ns);
        if (now_ns >= run.until_ns && run.go_on(now_ns)) end(run, batch, {}, stopping);
      }
      // In D state there is never a second one beside it; unless vitald ends.
      std::erase_if(running, [&](Run& run) {
        if (!run.starting && !run.process.running()) return true;  // it never came to be
        pollfd p{run.process.pidfd(), POLLIN, 0};
        if (poll(&p, 1, 0) != 1) return stopping && run.phase == Run::Phase::stuck;
        if (run.phase != Run::Phase::runs) run.process.signal_group(SIGKILL);  // whoever is left of the group
        if (run.from) read_some(run.from, run.output);
        const bool told = run.phase == Run::Phase::stuck;
        const auto exit = run.process.reap();
        if (!told) end(run, batch, exit, stopping);
        return true;
      });
    }
    return sum_up(batch);
  }

 private:
  enum class Outcome : std::uint8_t { waits, runs, taken, refused, failed, again };
  struct Batch {
    explicit Batch(std::span<const Item> all) : items(all), outcomes(all.size(), Outcome::waits) {}
    std::span<const Item> items;
    std::vector<Outcome> outcomes;
    std::optional<Error> problem;  // why one is to be run again, or was not started
    bool cannot_start = false;
  };

  // Starts what may start now. When the next one may, INT64_MAX: not before one ended.
  std::int64_t start_some(Batch& batch, std::vector<Run>& running, std::int64_t now_ns) {
    for (std::size_t i = 0; i < batch.items.size() && !batch.cannot_start; ++i) {
      if (batch.outcomes[i] != Outcome::waits) continue;
      if (running.size() >= settings_.at_once) return INT64_MAX;
      if (waits_for_another(batch, i)) continue;
      if (const auto from_ns = next_token_ns(now_ns); from_ns > now_ns) return from_ns;
      const auto& item = batch.items[i];
      const auto parts = parts_of(item.body);
      if (!parts) {
        report(item, "what an earlier version kept cannot be read", "");
        batch.outcomes[i] = Outcome::refused;
        continue;
      }
      Run run{.item = i, .rest = parts->front(), .begin_ns = now_ns, .until_ns = now_ns + settings_.timeout_ns};
      auto starting = begin_start(std::span(*parts).subspan(1), run.to, run.from);
      if (!starting) {
        cannot_start(batch, std::move(starting.error()));
        break;
      }
      run.starting.emplace(std::move(*starting));
      batch.outcomes[i] = Outcome::runs;
      running.push_back(std::move(run));
      if (settings_.most_per_minute > 0) tokens_ -= 1;
    }
    return INT64_MAX;
  }

  void cannot_start(Batch& batch, Error why) {
    not_started_.Increment();
    batch.problem = std::move(why);
    batch.cannot_start = true;
  }

  // There is a process, or there will be none.
  void born(Run& run, Batch& batch) {
    auto process = run.starting->take();
    run.starting.reset();
    if (process) {
      run.process = std::move(*process);
      if (run.phase == Run::Phase::starts) run.phase = Run::Phase::runs, run.ran = true;
      return;
    }
    if (run.phase == Run::Phase::stuck) return;  // that was told
    if (run.late) return end(run, batch, {}, false);
    batch.outcomes[run.item] = run.phase == Run::Phase::killed ? Outcome::again : Outcome::waits;
    if (run.phase == Run::Phase::killed) return;  // we end
    if (settings_.most_per_minute > 0) tokens_ += 1;
    cannot_start(batch, std::move(process.error()));
  }

  // One of the same alert that came before runs, or is to be run again.
  static bool waits_for_another(const Batch& batch, std::size_t i) {
    for (std::size_t before = 0; before < i; ++before) {
      const auto o = batch.outcomes[before];
      if ((o == Outcome::waits || o == Outcome::runs || o == Outcome::again) &&
          alert_of(batch.items[before].key) == alert_of(batch.items[i].key))
        return true;
    }
    return false;
  }

  // When a command may be started: at once as long as there were not too many in the last minute.
  std::int64_t next_token_ns(std::int64_t now_ns) {
    if (settings_.most_per_minute == 0) return now_ns;
    const auto most = static_cast<double>(settings_.most_per_minute);
    const double per_ns = most / 60e9;
    tokens_ =
        tokens_at_ns_ == 0 ? most : std::min(most, tokens_ + static_cast<double>(now_ns - tokens_at_ns_) * per_ns);
    tokens_at_ns_ = now_ns;
    return tokens_ >= 1 ? now_ns : now_ns + static_cast<std::int64_t>((1 - tokens_) / per_ns) + kMs;
  }

  // Until one of them has something to say, or its time is over. True: all is to end.
  static bool wait(std::vector<Run>& running, std::int64_t until_ns, int stop_fd) {
    std::vector<pollfd> p{{stop_fd, POLLIN, 0}};
    for (auto& run : running) {
      until_ns = std::min(until_ns, run.until_ns);
      p.push_back({run.starting ? run.starting->fd() : run.process.pidfd(), POLLIN, 0});
      p.push_back({run.from.get(), POLLIN, 0});  // a negative one is ignored
      p.push_back({run.to.get(), POLLOUT, 0});
    }
    constexpr std::int64_t kMostMs = 3'600'000;
    const auto left_ms = (until_ns - SystemClock::read(CLOCK_BOOTTIME)) / kMs + 1;
    if (poll(p.data(), p.size(), static_cast<int>(std::clamp<std::int64_t>(left_ms, 0, kMostMs))) < 0) return false;
    for (std::size_t i = 0; i < running.size(); ++i) {
      auto& run = running[i];
      if (p[2 + 3 * i].revents != 0 && !read_some(run.from, run.output)) run.from.reset();
      if (p[3 + 3 * i].revents != 0 && !write_some(run.to, run.rest)) run.to.reset();
    }
    return p[0].revents != 0;
  }

  // `exit`: none where it cannot be killed.
  void end(const Run& run, Batch& batch, const std::optional<ProcessExit>& exit, bool stopping) {
    const auto& item = batch.items[run.item];
    auto& outcome = batch.outcomes[run.item];
    const auto took_ns = SystemClock::read(CLOCK_BOOTTIME) - run.begin_ns;
    duration_.Observe(static_cast<double>(took_ns) / 1e9);
    keep(run, item, exit, stopping, took_ns);
    if (!run.late && exit && exit->ok()) {
      ok_.Increment();
      outcome = Outcome::taken;
      failure_.clear();
      return;
    }
    if (!run.late && stopping) {
      outcome = Outcome::again;
      return;
    }
    const auto why = run.late ? fmt::format("no end within {} ms, {}{}", settings_.timeout_ns / kMs,
                                            exit ? "killed" : "cannot be killed", run.ran ? "" : kNeverRan)
                     : exit   ? exit->text()
                              : std::string("lost");
    (run.late ? timeout_ : failed_).Increment();
    report(item, why, run.output);
    outcome = Outcome::failed;
    if (++tries_[item.id] > settings_.retries) return failure_.note(item, "the command failed: " + why);
    outcome = Outcome::again;
    batch.problem = Error{Errc::io, 0, fmt::format("the command for '{}' failed ({}), it is run again", item.key, why)};
  }

  // For whoever asks what it said.
  void keep(const Run& run, const Item& item, const std::optional<ProcessExit>& exit, bool stopping,
            std::int64_t took_ns) const {
    using enum CommandRun::Result;
    const auto names = names_in(item.key);
    CommandRun out;
    out.alert = names.alert;
    out.status = names.status;
    out.result = run.late ? timeout : exit && exit->ok() ? ok : stopping ? cut_off : failed;
    if (exit) out.end = exit->text();
    if (exit && exit->signal == 0) out.exit_status = exit->status;
    out.began_wall_ms = (SystemClock::read(CLOCK_REALTIME) - took_ns) / kMs;
    out.took_ns = took_ns;
    out.output = run.output;
    receiver_book().note(settings_.name, std::move(out));
  }

  // What is done with in front leaves the queue; what is behind one that is to be run again is remembered.
  Result<Sent> sum_up(const Batch& batch) {
    Sent sent;
    const auto is_done = [](Outcome o) { return o == Outcome::taken || o == Outcome::refused || o == Outcome::failed; };
    while (sent.taken < batch.items.size() && is_done(batch.outcomes[sent.taken])) {
      const auto& item = batch.items[sent.taken];
      const auto outcome = batch.outcomes[sent.taken++];
      if (outcome == Outcome::taken) continue;
      Refusal::count(sent, item, outcome == Outcome::failed ? Refusal::Why::failed : Refusal::Why::refused);
    }
    for (auto i = sent.taken; i < batch.items.size(); ++i)
      if (is_done(batch.outcomes[i])) ended_[batch.items[i].id] = batch.outcomes[i];
    if (sent.taken == 0 && batch.problem) return fail(*batch.problem);
    sent.problem = failure_.text();
    sent.refusing = failure_.any();
    return sent;
  }

  void report(const Item& item, std::string_view what, std::string_view output) const {
    const auto [status, name] = names_in(item.key);
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

  Result<ProgramStart> begin_start(std::span<const std::string_view> variables, Fd& to, Fd& from) const {
    if (settings_.command.empty()) return fail(Errc::malformed, "no command");
    auto in = make_pipe(), out = make_pipe();
    if (!in) return fail(std::move(in.error()));
    if (!out) return fail(std::move(out.error()));
    if (!set_nonblocking(in->write) || !set_nonblocking(out->read)) return fail(from_errno("pipe: fcntl", errno));
    const auto ends = std::make_shared<std::pair<Fd, Fd>>(std::move(in->read), std::move(out->write));
    auto starting = ProgramStart::begin(
        [command = settings_.command, user = settings_.user, environment = environment_with(variables),
         ends](ProcessBirth& birth) { return start(command, user, environment, ends->first, ends->second, birth); });
    to = std::move(in->write);
    from = std::move(out->read);
    return starting;
  }

  // On a thread of its own: its file, or what knows the users, may be on a server that does not answer.
  static Result<Process> start(const std::vector<std::string>& command, const std::string& user_name,
                               const std::vector<std::string>& environment, const Fd& in, const Fd& out,
                               ProcessBirth& birth) {
    ProcessSettings p;
    p.path = command[0];
    p.arguments = command;
    p.environment = environment;
    p.directory = "/";
    // Root in a container that may change no user (capabilities: drop ALL) stays the root it is, without a capability.
    const bool leave_root = geteuid() == 0 && has_capability(CAP_SETUID);
    using enum ProcessSettings::Privileges;
    p.privileges = geteuid() == 0 && !leave_root ? nothing_for_good : nothing;
    if (!user_name.empty() || leave_root) {
      auto user = find_user(user_name.empty() ? "nobody" : user_name);
      if (!user) return fail(std::move(user.error()));
      p.user = *user;
    }
    p.in = in.get();
    p.out = p.err = out.get();
    // A pipe belongs to its maker; without this `echo >/dev/stderr` is refused to another user.
    if (p.user && (fchown(p.in, p.user->uid, p.user->gid) != 0 || fchown(p.out, p.user->uid, p.user->gid) != 0))
      return fail(from_errno("pipe: chown", errno));
    return Process::start(p, birth);
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

  const CommandReceiver settings_;
  Refusal failure_;
  prometheus::Counter &ok_, &failed_, &timeout_, &not_started_;
  prometheus::Histogram& duration_;
  double tokens_ = 0;
  std::int64_t tokens_at_ns_ = 0;
  // By item: those that ended before one in front of them, and how often one was run.
  std::map<std::uint64_t, Outcome> ended_;
  std::map<std::uint64_t, std::size_t> tries_;
};

constexpr Field<CommandReceiver> kFields[] = {
    kNameField<CommandReceiver>,
    kMatchersField<CommandReceiver>,
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
    {.key = "at_once",
     .at = &CommandReceiver::at_once,
     .help = "How many run at the same time. Of one alert never two, and in order.",
     .least = 1,
     .most = 64},
    {.key = "most_per_minute",
     .at = &CommandReceiver::most_per_minute,
     .help = "How many are started within a minute; what is more waits. 0: no limit.",
     .least = 0,
     .most = 60'000},
    {.key = "retries",
     .at = &CommandReceiver::retries,
     .help =
         "How often it is run again for an alert where it fails or takes too long, later each time. 0: it knows best "
         "whether the message went out.",
     .least = 0,
     .most = 100},
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
  const auto as = program_user(user);
  const auto problem = as ? program_problem(command.at(0), *as) : program_problem(command.at(0));
  if (!problem.empty()) say(problem);
  if (!as) say(as.error().text);
}

void CommandReceiver::adjust(QueueSettings& q) const {
  // Enough that a slow one leaves the others something to do.
  q.batch_items = at_once == 1 ? 1 : 4 * at_once;
  auto& length =
      instruments().gauge("vitald_hook_queue_length", "Alert transitions that wait for the command.", {{"hook", name}});
  auto& dropped = instruments().counter("vitald_hook_dropped_total",
                                        "Alert transitions dropped because the queue was full.", {{"hook", name}});
  q.on_change = [&length, &dropped, told = std::uint64_t{0}](const QueueStats& now) mutable {
    length.Set(static_cast<double>(now.waiting));
    dropped.Increment(static_cast<double>(now.dropped.full - told));
    told = now.dropped.full;
  };
}

}  // namespace vitald
