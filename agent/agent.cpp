// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <iterator>
#include <limits>
#include <span>

#include "agent/api/endpoints.h"
#include "agent/config/check.h"
#include "agent/config/flags.h"
#include "agent/config/names_here.h"
#include "agent/config/places.h"
#include "agent/docs.h"
#include "agent/http/server.h"
#include "agent/loading.h"
#include "agent/os/memory.h"
#include "agent/os/service.h"
#include "agent/os/state.h"
#include "agent/pipeline/pipeline.h"
#include "agent/pipeline/pushers.h"
#include "agent/reloader.h"
#include "agent/report.h"
#include "agent/surroundings.h"
#include "agent/worker_settings.h"
#include "core/log.h"
#include "core/log_output.h"
#include "core/mutex.h"
#include "core/os/descriptors.h"
#include "core/os/host_name.h"
#include "core/os/host_view.h"
#include "core/text/names.h"
#include "core/text/url.h"
#include "rules/alert_reach.h"
#include "rules/reach.h"
#include "sensors/self/posted_events.h"

namespace vitald {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
// A reload is in force when the pipeline has made its collectors, and judged their first numbers.
constexpr std::int64_t kInForceNs = 10 * kSecond;
constexpr std::int64_t kReadNs = 15 * kSecond;  // so long a reload reads; with the above less than its answer may take
constexpr int kMostHungReadings = 4;
constexpr std::int64_t kOnceNs = 20 * kSecond;
constexpr int kPatienceSteps = 1000;  // of 10 ms, for the report
// All of the end, whatever hangs; whoever sends SIGTERM waits two seconds for it.
constexpr std::int64_t kEndNs = 1'400'000'000;

HostRoots roots_of(const Options& options) {
  return {std::string(options.text("path.procfs")), std::string(options.text("path.sysfs")),
          std::string(options.text("path.rootfs")), std::string(options.text("path.udev.data"))};
}

Collectors::MakeWorker worker_maker(std::vector<std::string> arguments) {
  return [arguments = std::move(arguments)](std::string_view collector) {
    return std::make_unique<WorkerClient>(worker_settings(collector, arguments));
  };
}

// NAME=VALUE, as in flags that are lists of labels.
LabelMap labels_of(const Options& options, std::string_view flag, std::vector<std::string>& problems) {
  LabelMap out;
  for (const auto& label : options.list(flag)) {
    const auto equals = label.find('=');
    const auto name = label.substr(0, equals);
    if (equals == std::string::npos || equals == 0)
      problems.push_back(fmt::format("--{}: '{}' is not NAME=VALUE, expected e.g. job=node", flag, label));
    else if (!is_label_name(name))
      problems.push_back(
          fmt::format("--{}: '{}': '{}' is no name of a label, expected letters, digits and _, and no "
                      "digit in front",
                      flag, label, name));
    else out[name] = label.substr(equals + 1);
  }
  return out;
}

std::string external_url(const Options& options, std::vector<std::string>& problems) {
  auto url = std::string(options.text("web.external-url"));
  if (!url.empty()) {
    if (!is_base_url(url))
      problems.push_back(
          fmt::format("--web.external-url: '{}' is no URL that a path can follow, expected e.g. "
                      "https://monitor.example:9100/vitald",
                      url));
    while (url.ends_with('/')) url.pop_back();
    return url;
  }
  const auto& addresses = options.list("web.listen-address");
  const auto colon = addresses.empty() ? std::string::npos : addresses.front().rfind(':');
  return fmt::format("http://{}{}", host_name(),
                     colon == std::string::npos ? ":9100" : addresses.front().substr(colon));
}

// What a server would add: HOST:PORT of where it scrapes, and the job that everybody's rules and dashboards ask for.
LabelMap series_labels(const Options& options, std::vector<std::string>& problems) {
  const auto& addresses = options.list("web.listen-address");
  const auto colon = addresses.empty() ? std::string::npos : addresses.front().rfind(':');
  LabelMap out{{"job", "node"},
               {"instance", host_name() + (colon == std::string::npos ? ":9100" : addresses.front().substr(colon))}};
  for (auto& [name, value] : labels_of(options, "rules.series-label", problems)) out[name] = value;
  std::erase_if(out, [](const auto& label) { return label.second.empty(); });
  return out;
}

// With all rule files loaded, or with problems and nothing.
PipelineConfig pipeline_config(const Config& config, std::vector<std::string>& problems, NamesHere names_here = {}) {
  PipelineConfig out;
  RuleSettings rules;
  rules.files = config.options.list("rules.file");
  rules.check_files = config.options.list("checks.file");
  rules.interval_ms = config.options.duration_ns("pipeline.interval") / 1'000'000;
  rules.series_labels = series_labels(config.options, problems);
  rules.without_rules = config.options.flag("history.without-rules");
  rules.language.experimental = config.options.flag("rules.promql.experimental");
  if (config.options.text("rules.promql.dialect") == "2") rules.dialect = promql::Dialect::v2;
  rules.external_labels = labels_of(config.options, "rules.external-label", problems);
  rules.external_url = external_url(config.options, problems);
  rules.families = all_families(config.options);
  rules.names_here = std::move(names_here);
  rules.history_retention_ms = config.options.duration_ns("history.retention") / 1'000'000;
  rules.history_keep = config.options.list("history.keep");
  rules.history_limit_bytes = static_cast<std::size_t>(config.options.number("history.memory")) << 20;
  rules.outage_tolerance_ms = config.options.duration_ns("rules.alert.for-outage-tolerance") / 1'000'000;
  rules.outage_grace_ms = config.options.duration_ns("rules.alert.for-grace-period") / 1'000'000;
  out.rules = RuleEngine::load(rules, problems);
  out.options = std::make_shared<const Options>(config.options);
  out.inhibit_rules = config.file.inhibit_rules;
  for (const auto& receiver : config.file.receivers) {
    auto own = receiver->copy();
    own->external_labels = rules.external_labels;
    own->external_url = rules.external_url;
    own->evaluated_every_ns = config.options.duration_ns("pipeline.interval");
    out.receivers.push_back(std::move(own));
  }
  return out;
}

PushConfig push_config(const Config& config, std::shared_ptr<const StateDir> state, const EventLog& events) {
  PushConfig out;
  std::vector<std::string> told;  // by pipeline_config() already
  out.state = std::move(state);
  out.interval_ns = config.options.duration_ns("pipeline.interval");
  for (const auto& settings : config.file.pushes) {
    auto own = settings->copy();
    own->events = &events;
    own->target_labels = series_labels(config.options, told);
    own->external_labels = labels_of(config.options, "rules.external-label", told);
    out.destinations.push_back(std::move(own));
  }
  return out;
}

void log_rule_warnings(const PipelineConfig& config, std::span<const Setting> from_file) {
  if (!config.rules) return;
  for (const auto& w : config.rules->warnings()) {
    if (w.starts_with("--")) log::warn("a setting has no effect", {{"setting", at_its_place(w, from_file)}});
    else log::warn("a rule does not do what it says", {{"rule", w}});
  }
}

EvidenceSettings evidence_settings(const Options& options) {
  EvidenceSettings s;
  s.disk_bytes = static_cast<std::size_t>(options.number("evidence.disk")) << 20;
  s.span_ms = options.duration_ns("evidence.span") / 1'000'000;
  s.last_words = options.flag("evidence.last-words");
  s.language.experimental = options.flag("rules.promql.experimental");
  return s;
}

// What --config.check would say of how its parts fit together: no reason to go without all the rest. What it names is
// looked at by Surroundings.
void log_warnings(const Config& config, const RuleEngine* rules) {
  std::vector<std::string> warnings;
  check_libvirt(config.options, warnings);
  if (rules) check_alerts(config, rules->alert_reach(all_families(config.options)), warnings);
  for (const auto& w : warnings)
    log::warn("a setting has no effect", {{"setting", at_its_place(w, config.file.settings)}});
}

std::string flag_text(const Options& options, std::string_view flag) {
  return fmt::format("--{}={}", flag, fmt::join(options.list(flag), ","));
}
std::string roots_text(const Options& options) {
  return fmt::format("the kernel's files, {} {} {}", flag_text(options, "path.procfs"),
                     flag_text(options, "path.sysfs"), flag_text(options, "path.rootfs"));
}
std::string rules_text(const Options& options) {
  return fmt::format("rules, {} {}", flag_text(options, "rules.file"), flag_text(options, "checks.file"));
}

bool print_problems(const std::vector<std::string>& problems, std::span<const Setting> from_file = {}) {
  for (const auto& p : problems) log::say(fmt::format("vitald: error: {}\n", at_its_place(p, from_file)));
  return !problems.empty();
}

MetricsHandler::Settings metrics_settings(const Options& options) {
  MetricsHandler::Settings s;
  s.max_age_ns = options.duration_ns("web.max-age");
  s.max_requests = options.number("web.max-requests");
  s.created = options.flag("web.created-series");
  return s;
}

Queries::Settings query_settings(const Options& options) {
  Queries::Settings s;
  s.lookback_ns = options.duration_ns("query.lookback-delta");
  s.timeout_ns = options.duration_ns("query.timeout");
  s.max_concurrency = static_cast<std::size_t>(options.number("query.max-concurrency"));
  s.max_samples = static_cast<std::size_t>(options.number("query.max-samples"));
  s.language.experimental = options.flag("rules.promql.experimental");
  if (options.text("rules.promql.dialect") == "2") s.dialect = promql::Dialect::v2;
  return s;
}

std::vector<Listener> open_listeners(const Options& options, std::vector<std::string>& problems) {
  if (options.flag("web.systemd-socket")) {
    auto sockets = systemd_listeners();
    if (sockets) return std::move(*sockets);
    problems.push_back(sockets.error().text);
    return {};
  }
  std::vector<Listener> listeners;
  for (const auto& address : options.list("web.listen-address")) {
    auto found = listen_on(address);
    if (!found) problems.push_back(found.error().text);
    else std::ranges::move(*found, std::back_inserter(listeners));
  }
  return listeners;
}

// Flags that are looked at once, when the agent starts.
void warn_of_fixed(const Options& now, const Options& next) {
  for (const std::string_view name :
       {"web.listen-address", "web.systemd-socket", "web.config.file", "web.telemetry-path", "web.max-requests",
        "web.created-series", "path.procfs", "path.sysfs", "path.rootfs", "path.udev.data", "log.level", "log.format",
        "state.directory"})
    if (now.list(name) != next.list(name)) log::warn("this setting changes only with a restart", {{"flag", name}});
}

class Daemon {
 public:
  Daemon(Config config, std::vector<std::string> arguments)
      : config_(std::move(config)),
        arguments_(std::move(arguments)),
        host_(roots_of(config_.options)),
        pipeline_(host_, collector_list(), worker_maker(config_.command_line.arguments), hub_, [this] {
          if (server_) server_->published();
          pushers_.published();
        }) {}

  int run() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int s : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, s);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // every thread inherits it; this one waits for them
    signal(SIGPIPE, SIG_IGN);

    const auto& config = config_at_start();
    std::vector<std::string> problems;
    PipelineConfig start;
    std::unique_ptr<Gate> gate;
    {
      // All that reads files. They may be on a server that does not answer; SIGTERM ends us then as well.
      Loading loading("load", [&](WaitsFor& waits) {
        waits.at("the state folder, " + flag_text(config.options, "state.directory"));
        state_ = open_state(config.options, problems);
        waits.at(rules_text(config.options));
        start = pipeline_config(config, problems);
        waits.at("conditions, " + flag_text(config.options, "verdict.file"));
        verdicts_->set(Verdicts::load(config.options, problems));
        waits.at("certificates and users, " + flag_text(config.options, "web.config.file"));
        gate = Gate::load(std::string(config.options.text("web.config.file")), problems);
        waits.at("alerts and silences of the run before, " + flag_text(config.options, "state.directory"));
        if (state_.dir) keeper_ = std::make_shared<Keeper>(state_.dir, host_);
        silences_ = keeper_ ? keeper_->silences() : std::make_shared<Silences>();
        callbacks_ = std::make_shared<Callbacks>(state_.dir);
        evidence_ = std::make_shared<Evidence>(state_.dir, host_);
      });
      int number = 0;
      bool asked = false;
      while ((number = loading.wait_or_signal(signals)) == SIGHUP) asked = true;
      if (number > 0) end_at_once(number);
      if (asked) raise(SIGHUP);  // for when all runs: what was read already may have changed since
    }
    start.state = state_.dir;
    start.keeper = keeper_;
    start.silences = silences_;
    start.callbacks = callbacks_;
    evidence_->set(evidence_settings(config.options));
    start.evidence = evidence_;
    start.probes_later = true;
    keep_so_often(config.options);
    auto pushes = push_config(config, state_.dir, pipeline_.events());
    auto listeners = open_listeners(config.options, problems);
    const auto connections = share_out_descriptors(listeners.size());
    if (auto few = too_few_descriptors(listeners.size()); !few.empty()) problems.push_back(std::move(few));
    if (print_problems(problems, config.file.settings)) return 1;
    auto seats = seats_for_clients();
    log_rule_warnings(start, config.file.settings);
    log_warnings(config, start.rules.get());
    surroundings_.look(config);

    const auto path = std::string(config.options.text("web.telemetry-path"));
    for (const auto& l : listeners)
      urls_.push_back(l.address.starts_with("vsock://")
                          ? l.address + path
                          : fmt::format("{}://{}{}", gate && gate->tls() ? "https" : "http", l.address, path));
    const auto wake = std::make_shared<const Wake>();
    freshness_->set_interval(config.options.duration_ns("pipeline.interval"));
    metrics_ = std::make_shared<MetricsHandler>(
        metrics_settings(config.options),
        MetricsSource{[this] { return hub_.latest(); }, [this] { return pipeline_.status(); }}, freshness_);
    queries_ = std::make_shared<Queries>(
        query_settings(config.options), [this] { return pipeline_.history(); }, wake, host_.clock());
    interval_ns_ = config.options.duration_ns("pipeline.interval");
    AgentView view;
    view.queries = queries_;
    view.verdicts = verdicts_;
    view.silences = silences_;
    view.callbacks = callbacks_;
    view.evidence = evidence_;
    view.changes = changes_ = std::make_shared<Jobs>(Jobs::Settings{.thread = "change"}, wake, host_.clock());
    view.interval_ns = [this] { return interval_ns_.load(); };
    view.external_url = external_url(config.options, problems);  // what it says of it is said already
    view.latest = [this] { return hub_.latest(); };
    view.collectors = [this] { return pipeline_.status(); };
    view.rules = [this] { return pipeline_.rules(); };
    view.reload = [this](Reloader::Done done) { reloader_.ask(std::move(done)); };
    view.metrics = metrics_;
    view.freshness = freshness_;
    view.events = &pipeline_.events();
    view.exemplars = &pipeline_.exemplars();
    view.series_labels = [this] {
      const auto history = pipeline_.history();
      return history ? history->settings().series_labels : std::map<std::string, std::string>();
    };
    view.posted = &host_.shared<PostedEvents>();
    view.event_numbers = EventNumbers(host_.clock().wall_ns());
    view.clock = &host_.clock();
    view.wake = wake;
    view.metrics_path = path;
    const Collecting collecting{[this](std::int64_t t) { return pipeline_.collect(t); },
                                [this](std::int64_t t) { return metrics_->has_since(t); },
                                [this] { return metrics_->full(); }, &no_room_for};
    server_ = std::make_unique<Server>(std::move(listeners), Routes(endpoints(view)), collecting, host_.clock(), wake,
                                       std::move(gate));
    Server::Limits limits;
    limits.connections = connections;
    if (const auto started = server_->start(limits); !started) return print_problems({started.error().text}), 1;
    if (const auto started = pipeline_.start(std::move(start)); !started)
      return print_problems({started.error().text}), 1;
    pushers_.configure(std::move(pushes));

    // A report before the first snapshot would not know what collectors say about themselves. One that hangs
    // is no reason not to start.
    bool ready = false, reported = false, settled = false;
    const auto watchdog_ns = watchdog_interval_ns();
    std::int64_t ready_ns = 0;
    for (int waited = 0;;) {
      const auto step_ns = !reported          ? 10'000'000
                           : watchdog_ns != 0 ? std::min(watchdog_ns / 4, 10 * kSecond)
                                              : 10 * kSecond;
      const timespec step{step_ns / kSecond, step_ns % kSecond};
      const int number =
          settled && watchdog_ns == 0 ? sigwaitinfo(&signals, nullptr) : sigtimedwait(&signals, nullptr, &step);
      if (number > 0 && number != SIGHUP) return end(number);
      try {
        if (ready && watchdog_ns != 0) feed_watchdog(watchdog_ns);
        // What the first workers, scrapes and cycles needed once.
        if (number < 0 && reported && !settled && host_.clock().boot_ns() - ready_ns >= 10 * kSecond) {
          settled = true;
          give_back_startup_memory();
        }
        waited += reported ? 0 : 1;
        if (!ready && (hub_.latest() || waited == kPatienceSteps)) {
          ready = true;
          seats.clear();
          ready_ns = host_.clock().boot_ns();
          notify_service("READY=1");
        }
        // With what became of the probes, for which nobody else waits.
        if (ready && !reported && (waited >= kPatienceSteps || !some_start())) {
          reported = true;
          print_report();
          give_back_startup_memory();
        }
        if (number != SIGHUP) continue;  // nothing yet
        notify_service(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", SystemClock::read(CLOCK_MONOTONIC) / 1000));
        reloader_.ask([](const auto&) { notify_service("READY=1"); });
      } catch (const std::exception& e) {  // no memory for a report or a message
        log::error("the agent goes on after an exception", {{"err", e.what()}});
      }
    }
  }

 private:
  bool some_start() const {
    const auto rows = pipeline_.status();
    return rows &&
           std::ranges::any_of(
               *rows, [](auto state) { return state == CollectorStatus::State::starting; }, &CollectorStatus::state);
  }
  void keep_so_often(const Options& options) const {
    if (keeper_) keeper_->set_interval(options.duration_ns("history.save-interval"));
  }
  // Before the reloader may run.
  [[nodiscard]] const Config& config_at_start() const UNCHECKED_LOCKS { return config_; }

  // What a reload reads. A reading that hangs is left alone, and uses nothing of ours.
  struct Next {
    Config config;
    PipelineConfig pipeline;
    Verdicts::TablePtr verdicts;
    PushConfig pushes;
    std::vector<std::string> problems;
  };
  static void read(Next& next, const std::vector<std::string>& arguments, std::shared_ptr<const StateDir> state,
                   const EventLog& events, WaitsFor& waits) {
    std::vector<std::string> warnings;
    waits.at("the configuration, --config.file");
    next.config = load_config(arguments, next.problems, warnings);
    const auto& options = next.config.options;
    waits.at(rules_text(options));
    if (next.problems.empty()) next.pipeline = pipeline_config(next.config, next.problems);
    waits.at("conditions, " + flag_text(options, "verdict.file"));
    next.verdicts = Verdicts::load(options, next.problems);
    next.pushes = push_config(next.config, std::move(state), events);
    for (auto& problem : next.problems) problem = at_its_place(problem, next.config.file.settings);
  }

  std::vector<std::string> reload() {
    if (readings_->load() >= kMostHungReadings) {
      const auto text = fmt::format(
          "{} reloads still wait for files that do not come; restart vitald, or get their "
          "server to answer",
          readings_->load());
      log::error("the configuration in force stays", {{"err", text}});
      return {text};
    }
    const auto read_ones = std::make_shared<Next>();
    {
      Loading loading("reading", [next = read_ones, arguments = arguments_, state = state_.dir,
                                  events = &pipeline_.events(), readings = readings_](WaitsFor& waits) {
        const std::shared_ptr<void> over(nullptr, [&](void*) { --*readings; });
        read(*next, arguments, state, *events, waits);
      });
      ++*readings_;
      if (!loading.wait(kReadNs)) {
        const auto text =
            fmt::format("reading it was given up after {} s, it waits for {}", kReadNs / kSecond, loading.waits_for());
        log::error("the configuration in force stays", {{"err", text}});
        return {text};
      }
    }
    auto& [next, pipeline, verdicts, pushes, problems] = *read_ones;
    for (const auto& problem : problems) log::error("the configuration in force stays", {{"err", problem}});
    if (!problems.empty()) return problems;
    pipeline.state = state_.dir;
    pipeline.keeper = keeper_;
    pipeline.silences = silences_;
    pipeline.callbacks = callbacks_;
    pipeline.evidence = evidence_;
    log_warnings(next, pipeline.rules.get());
    const auto named = next;
    {
      const MutexLock lock(config_mutex_);
      warn_of_fixed(config_.options, next.options);
      metrics_->set_max_age(next.options.duration_ns("web.max-age"));
      freshness_->set_interval(next.options.duration_ns("pipeline.interval"));
      interval_ns_ = next.options.duration_ns("pipeline.interval");
      queries_->set(query_settings(next.options));
      verdicts_->set(std::move(verdicts));
      evidence_->set(evidence_settings(next.options));
      keep_so_often(next.options);
      log_rule_warnings(pipeline, next.file.settings);
      config_ = std::move(next);
    }
    pushers_.configure(std::move(pushes));
    const bool in_force = pipeline_.reload(std::move(pipeline), kInForceNs);
    surroundings_.look(named);
    if (!in_force) {
      constexpr std::string_view kLate = "the configuration is good and not in force yet: a collection takes very long";
      log::error(kLate);
      return {std::string(kLate)};
    }
    give_back_startup_memory();  // of the one before, and of reading this one
    log::info("configuration reloaded");
    return {};
  }

  // Only while collections end: an agent that answers and has no numbers is started again. Where nobody asks for
  // numbers, this does.
  void feed_watchdog(std::int64_t interval_ns) {
    const auto now_ns = host_.clock().boot_ns();
    const auto latest = hub_.latest();
    if (latest && now_ns - latest->boot_ns < interval_ns / 2) notify_service("WATCHDOG=1");
    else pipeline_.want(now_ns - interval_ns / 4);
  }

  void print_report() {
    const MutexLock lock(config_mutex_);
    const auto snapshot = hub_.latest();
    const auto collectors = pipeline_.status();
    const auto rules = pipeline_.rules();
    static const std::vector<CollectorStatus> kNone;
    const ReportInput input{urls_,
                            collectors ? *collectors : kNone,
                            snapshot ? snapshot->series_count() : 0,
                            rules.get(),
                            config_.options.list("rules.file"),
                            {config_.file.receivers.begin(), config_.file.receivers.end()},
                            descriptors_are_short(),
                            state_.text,
                            view_rows(host_),
                            {config_.file.pushes.begin(), config_.file.pushes.end()}};
    log::say(report(input));
  }

  static void say_ending(int number) { log::info("ending", {{"signal", number == SIGTERM ? "SIGTERM" : "SIGINT"}}); }
  // Before anything runs that would have to end.
  [[noreturn]] static void end_at_once(int number) {
    say_ending(number);
    log::flush(kLastWordsNs);
    _exit(0);
  }

  int end(int number) {
    notify_service("STOPPING=1");
    say_ending(number);
    // A collector that hangs cannot be joined; everything worth keeping is with the kernel then.
    const auto until_ns = host_.clock().boot_ns() + kEndNs;
    const auto left = [&](std::int64_t most_ns) {
      return std::clamp<std::int64_t>(until_ns - host_.clock().boot_ns(), 0, most_ns);
    };
    queries_->end(0);  // from now on they give up
    pushers_.stop(2 * kSecond / 5);
    const bool server_ended = server_->stop(left(kSecond / 4));
    const bool pipeline_ended = pipeline_.stop(left(kSecond / 4));
    const bool evidence_ended = evidence_->idle(left(kSecond / 10));
    const bool saved = !keeper_ || keeper_->save(std::max(left(kEndNs) - kSecond / 4, kSecond / 10));
    if (!saved) log::warn("ending before history and alerts are saved: the disk takes very long");
    // What stands between two looks at whether to give up, as a regular expression that is compiled does, may take
    // long.
    const bool asked_ended = queries_->end(left(kSecond / 10)) && changes_->end(left(kSecond / 10));
    // A thread that hangs in the disk, or is behind, uses what goes with us.
    if (pipeline_ended && server_ended && evidence_ended && asked_ended && saved && reloader_.idle(0) &&
        readings_->load() == 0 && surroundings_.idle())
      return 0;
    pipeline_.end_receivers(std::max(left(kEndNs), kSecond / 10));  // they do not depend on what hangs
    log::flush(kLastWordsNs);
    _exit(0);
  }

  Config config_ GUARDED_BY(config_mutex_);
  std::vector<std::string> arguments_;
  Host host_;
  StateFolder state_;
  std::shared_ptr<Keeper> keeper_;  // null: nothing is kept
  SnapshotHub hub_;
  std::shared_ptr<Freshness> freshness_ = std::make_shared<Freshness>(host_.clock().boot_ns());
  std::shared_ptr<MetricsHandler> metrics_;
  std::shared_ptr<Silences> silences_;
  std::shared_ptr<Callbacks> callbacks_;
  std::shared_ptr<Evidence> evidence_;
  std::shared_ptr<Queries> queries_;
  std::shared_ptr<Jobs> changes_;
  std::shared_ptr<Verdicts> verdicts_ = std::make_shared<Verdicts>();
  std::atomic<std::int64_t> interval_ns_{0};
  std::unique_ptr<Server> server_;
  Pushers pushers_{{[this] { return hub_.latest(); }, [this](std::int64_t t) { pipeline_.want(t); }}, host_.clock()};
  Pipeline pipeline_;
  std::vector<std::string> urls_;
  Mutex config_mutex_;
  Surroundings surroundings_;
  const std::shared_ptr<std::atomic<int>> readings_ = std::make_shared<std::atomic<int>>(0);  // that hang, or one
  Reloader reloader_{[this] { return reload(); }};
};

}  // namespace

int run_daemon(Config config, const std::vector<std::string>& arguments) {
  // Without a fixed threshold one large block (the kernel's BTF) would make malloc keep all later ones.
  mallopt(M_MMAP_THRESHOLD, 128 * 1024);
  mallopt(M_ARENA_MAX, 2);  // one heap per thread costs more memory than it saves time here
  give_threads_stacks();
  if (const auto& o = config.options; o.given("path.procfs") || o.given("path.sysfs") || o.given("path.rootfs")) {
    // The first to touch them, before SIGTERM is blocked.
    Loading loading("host", [roots = roots_of(o), text = roots_text(o)](WaitsFor& waits) {
      waits.at(text);
      look_at_host(roots.proc, roots.sys, roots.root);
    });
    loading.wait(std::numeric_limits<std::int64_t>::max());
  }
  return Daemon(std::move(config), arguments).run();
}

namespace {

struct Once {
  std::string text;
  bool good = false;
  bool hangs = false;  // a thread of it cannot be ended
};

Once collect_once(const Config& config, WaitsFor& waits) {
  Once out;
  std::vector<std::string> problems;
  waits.at(rules_text(config.options));
  auto start = pipeline_config(config, problems);
  waits.at(roots_text(config.options));
  if (print_problems(problems, config.file.settings)) return out;
  start.receivers.clear();  // it prints, and pages nobody
  struct Running {
    explicit Running(const Config& c)
        : host(roots_of(c.options)), pipeline(host, collector_list(), worker_maker(c.command_line.arguments), hub) {}
    const Host host;
    SnapshotHub hub;
    Pipeline pipeline;
  };
  auto running = std::make_unique<Running>(config);
  auto& pipeline = running->pipeline;
  // Workers start only now. A collector that hangs costs its own numbers: the others are printed.
  if (const auto started = pipeline.start(std::move(start), 3 * kSecond); !started)
    return print_problems({started.error().text}), out;
  waits.at({});  // the log says what each collector waits for
  const bool done = pipeline.wait_for_configurations(1, kOnceNs - 4 * kSecond);
  Snapshot snapshot;
  if (const auto latest = running->hub.latest()) snapshot = *latest;
  else
    print_problems({fmt::format("no collection ended within {} s; the log says what it waits for", kOnceNs / kSecond)});
  if (done) pipeline.add_results(snapshot);
  PromText().encode(snapshot, out.text);
  out.good = snapshot.series_count() > 0;
  out.hangs = !pipeline.stop(kSecond);
  if (out.hangs) [[maybe_unused]]
    const auto* theirs = running.release();
  return out;
}

}  // namespace

int run_once(Config config, std::ostream& out) {
  signal(SIGPIPE, SIG_IGN);
  share_out_descriptors();
  Once once;
  Loading loading("once", [&](WaitsFor& waits) { once = collect_once(config, waits); });
  if (!loading.wait(kOnceNs)) {
    const auto what = loading.waits_for();
    print_problems(
        {fmt::format("no end within {} s{}{}", kOnceNs / kSecond, what.empty() ? "" : ", it waits for ", what)});
    log::flush(kLastWordsNs);
    _exit(1);
  }
  out << once.text << std::flush;  // whoever reads it may take their time
  const int status = once.good && out ? 0 : 1;
  if (!once.hangs) return status;
  log::flush(kLastWordsNs);
  _exit(status);
}

int run_worker(const Config& config) {
  const auto& name = config.command_line.worker;
  for (const auto& entry : collector_list()) {
    if (entry.name != name || !entry.info->make) continue;
    share_out_descriptors();
    const Host host(roots_of(config.options));
    auto made = entry.info->make(host, config.options);
    if (!made) return print_problems({made.error().text}), 1;
    return worker_main(**made, name);
  }
  return print_problems({fmt::format("worker: '{}' is no collector", name)}), 1;
}

void check_configuration(const Config& config, std::vector<std::string>& problems, std::vector<std::string>& warnings) {
  const Host host(roots_of(config.options));
  const auto pipeline = pipeline_config(config, problems, [&] { return names_on(host, config.options); });
  Gate::load(std::string(config.options.text("web.config.file")), problems);
  Verdicts::load(config.options, problems);
  check_surroundings(config, problems, warnings);
  check_collectors(config.options, host, problems);
  check_state(config.options, problems);
  if (pipeline.rules) {
    std::ranges::copy(pipeline.rules->warnings(), std::back_inserter(warnings));
    check_alerts(config, pipeline.rules->alert_reach(all_families(config.options)), warnings);
  }
  for (auto* texts : {&problems, &warnings})
    for (auto& text : *texts) text = at_its_place(text, config.file.settings);
}

int run_check(const Config& config, std::vector<std::string> problems) {
  std::vector<std::string> warnings;
  check_configuration(config, problems, warnings);
  for (const auto& w : warnings) log::say(fmt::format("warning: {}\n", w));
  for (const auto& p : problems) log::say(fmt::format("{}\n", p));
  if (!problems.empty()) return 1;
  fmt::print("configuration is good\n");
  return 0;
}

}  // namespace vitald
