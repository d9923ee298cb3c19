// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/pipeline.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <exception>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "agent/pipeline/callbacks.h"
#include "agent/pipeline/derive.h"
#include "core/check.h"
#include "core/instruments.h"
#include "core/log.h"
#include "core/metric_row.h"

namespace vitald {
namespace {

constexpr MetricDesc kMetrics[] = {
    {"vitald_build_info", MetricType::gauge, "1, with the version of this binary and the compiler that made it.",
     "version,compiler", "", "vitald"},
    {"vitald_snapshot_timestamp_seconds", MetricType::gauge,
     "When the collection of these numbers began, seconds since the epoch.", "", "seconds", "vitald"},
    {"node_exporter_build_info", MetricType::gauge,
     "A metric with a constant '1' value labeled by version, revision, branch, goversion from which node_exporter was "
     "built, and the goos and goarch for the build.",
     "branch,goarch,goos,goversion,revision,tags,version", "", "vitald"},
};

constexpr const char* kEventsHelp = "Events that collectors told of, by type; posted: those of programs of this host.";
constexpr std::string_view kPosted = "posted";
constexpr std::size_t kMostEventTypes = 32;

// What collectors announce is about numbers of others, too.
struct News {
  std::string_view of;
  std::vector<std::string_view> about;
};
const News kNewsAbout[] = {
    {"kernel_log", {"kernel_hung", "stat", "diskstats"}},
    {"thermal_events", {"thermal_zone", "hwmon", "sensors"}},
};

// Between two cycles for news: a collector that does not read them would be asked again and again.
constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t kNewsPauseNs = 50'000'000;

constexpr std::string_view kCompiler = "gcc " __VERSION__;

// Dashboards and alerts of node_exporter join on its version: here it is the one whose metrics and flags vitald has.
constexpr std::string_view kNodeExporter = "1.12.1";
#if defined(__x86_64__)
constexpr std::string_view kGoArch = "amd64";
#elif defined(__aarch64__)
constexpr std::string_view kGoArch = "arm64";
#else
constexpr std::string_view kGoArch = "unknown";
#endif

}  // namespace

struct Pipeline::Instruments {
  // What may come is there with 0, so that the first one is a growth.
  Instruments() {
    for (const auto type : event_types())
      if (!type.starts_with("alert_"))  // those are told to callbacks, and come from no collector
        instruments().counter("vitald_events_total", kEventsHelp, {{"type", std::string(type)}});
    instruments().counter("vitald_events_total", kEventsHelp, {{"type", std::string(kPosted)}});
  }

  prometheus::Counter& cycles = instruments().counter("vitald_cycles_total", "Collections of all collectors.");
  // By type, those we do not know made as they come: who posts events chooses their types, so those are one.
  void count_event(std::string_view type) {
    const bool known = type == kPosted || std::ranges::find(event_types(), type) != event_types().end();
    const bool room = known || more_types.contains(type) || more_types.size() < kMostEventTypes;
    const std::string shown(room ? type : std::string_view("other"));
    if (!known) more_types.insert(shown);
    instruments().counter("vitald_events_total", kEventsHelp, {{"type", shown}}).Increment();
  }
  std::set<std::string, std::less<>> more_types;
  prometheus::Counter& events_left_out = instruments().counter(
      "vitald_events_left_out_total", "Events beyond what one collection may bring; they are only counted.");
  prometheus::Counter& missed = instruments().counter(
      "vitald_cycles_missed_total", "Scheduled collections left out because one before took too long.");
  prometheus::Counter& failed =
      instruments().counter("vitald_cycles_failed_total",
                            "Collections given up for want of memory, or because of a bug; the log says which.");
  prometheus::Histogram& seconds =
      instruments().histogram("vitald_cycle_duration_seconds", "How long a collection took.",
                              {0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1});
};

std::span<const MetricDesc> Pipeline::metrics() { return kMetrics; }

Pipeline::Pipeline(const Host& host, std::span<const CollectorEntry> entries, Collectors::MakeWorker make_worker,
                   SnapshotHub& hub, std::function<void()> on_publish)
    : host_(host),
      hub_(hub),
      on_publish_(std::move(on_publish)),
      baton_(host.clock()),
      collectors_(host, entries, std::move(make_worker), baton_, away_),
      instruments_(std::make_unique<Instruments>()),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      crew_([this](bool taken_over) { lead(taken_over); }, [this] { return baton_.take_over(); }) {
  judge_.set_events(&events_);
}

Pipeline::~Pipeline() {
  while (!stop(1'000'000'000)) {  // they use all of this
  }
}

void Pipeline::configure_judge(PipelineConfig& config) {
  interval_ns_ = config.options->duration_ns("pipeline.interval");
  // A group that wants to be evaluated more often needs numbers as often.
  constexpr std::int64_t kLeastNs = 100'000'000;
  if (config.rules)
    interval_ns_ = std::clamp(config.rules->interval_ms() * 1'000'000, std::min(kLeastNs, interval_ns_), interval_ns_);
  const std::scoped_lock lock(judging_);
  try {
    callbacks_ = std::move(config.callbacks);
    judge_.set_evidence(std::move(config.evidence));
    if (config.silences) config.silences->set_inhibit_rules(std::move(config.inhibit_rules));
    judge_.configure(std::move(config.rules), std::move(config.receivers), std::move(config.state),
                     std::move(config.keeper), std::move(config.silences));
  } catch (const std::exception& e) {  // no thread for a hook, no memory
    log::error("not all rules and receivers of this configuration are in force", {{"err", e.what()}});
    instruments_->failed.Increment();
  }
}

void Pipeline::begin_configure(const PipelineConfig& config) {
  collectors_.begin_configure(config.options, config.probes_later);
  configuring_ = true;
}

void Pipeline::configure(PipelineConfig config) {
  configure_judge(config);
  check(!baton_.take(), "only threads of a pipeline take over from each other");
  begin_configure(config);
  if (go_on()) baton_.give();
}

SnapshotPtr Pipeline::cycle(std::int64_t patience_ns) {
  check(!baton_.take(), "only threads of a pipeline take over from each other");
  begin_cycle(patience_ns, true);
  if (go_on()) baton_.give();
  return hub_.latest();
}

void Pipeline::begin_cycle(std::int64_t patience_ns, bool may_make) {
  next_ = std::make_shared<Snapshot>();
  const auto begin_ns = host_.clock().boot_ns();
  last_begin_ns_ = begin_ns;
  next_->sequence = ++sequence_;
  next_->boot_ns = begin_ns;
  next_->wall_ns = host_.clock().wall_ns();
  if (begin_ns - last_retry_ns_ >= Collectors::kRetryNs) {
    if (may_make) {
      last_retry_ns_ = begin_ns;
      retrying_ = true;
      collectors_.begin_retry();
    } else if (!retry_wanted_.exchange(true)) {
      wake();
    }
  }
  patience_ns_ = patience_ns;
  round_begun_ = false;
}

// Whatever was begun, to its end.
bool Pipeline::go_on() {
  bool mine = true;
  try {
    mine = steps();
  } catch (const std::exception& e) {
    given_up(e);
  }
  if (!mine) away_.came_back();
  return mine;
}

bool Pipeline::steps() {
  if (configuring_) {
    if (!collectors_.configure()) return false;
    configuring_ = false;
    last_retry_ns_ = host_.clock().boot_ns();
    configured_ = true;
    ++config_in_force_;
    owes_probes_ = collectors_.left_to_make() > 0;
    show_status();
  }
  if (!collectors_.make_next()) return false;
  if (retrying_) {
    if (!collectors_.retry()) return false;
    retrying_ = false;
  }
  if (next_) {
    if (!round_begun_) collectors_.begin_round(patience_ns_);
    round_begun_ = true;
    if (!collectors_.round(next_->batches)) return false;
    publish();
  } else if (collectors_.take_changed()) {
    show_status();
  }
  return true;
}

void Pipeline::publish() {
  auto snapshot = std::exchange(next_, nullptr);
  const auto begin_ns = snapshot->boot_ns;
  writer_.begin(begin_ns, snapshot->wall_ns);
  writer_.set(row(kMetrics, "vitald_build_info"), 1, VITALD_VERSION, kCompiler);
  writer_.set(row(kMetrics, "vitald_snapshot_timestamp_seconds"), static_cast<double>(snapshot->wall_ns) / 1e9);
  writer_.set(row(kMetrics, "node_exporter_build_info"), 1, "vitald", kGoArch, "linux", kCompiler, VITALD_VERSION,
              "unknown", kNodeExporter);
  insert_batch(*snapshot, writer_.finish({}, 0, 0));
  collectors_.finish_round(*snapshot);
  judge_.add_results(*snapshot);
  guard_.check(snapshot->batches, judge_.families());
  if (collectors_.take_changed()) show_status();
  const auto events_before = events_.newest(), left_out_before = events_.left_out();
  events_.append(*snapshot);
  exemplars_.append(*snapshot);
  for (const auto& entry : events_.since(events_before, SIZE_MAX))
    instruments_->count_event(entry.collector == kPosted ? kPosted : std::string_view(entry.event->type));
  instruments_->events_left_out.Increment(static_cast<double>(events_.left_out() - left_out_before));
  hub_.publish(snapshot);
  instruments_->cycles.Increment();
  instruments_->seconds.Observe(static_cast<double>(host_.clock().boot_ns() - begin_ns) / 1e9);
  if (on_publish_) on_publish_();
}

void Pipeline::show_status() {
  auto status = collectors_.status();
  const MutexLock lock(mutex_);
  status_.swap(status);
}

bool Pipeline::collect(std::int64_t boot_ns) {
  // Each thread of the caller's that hangs is one less; so they run what may hang only while nothing does.
  if (away_.count() != 0 || !baton_.try_take()) {
    // Whoever has the baton may only look after workers, or run a cycle that began too early. It looks at
    // wanted_boot_ns_ when it is done; if it was done before that was set, the baton is free now.
    wanted_boot_ns_ = boot_ns;
    if (away_.count() != 0 || !baton_.try_take()) {
      wake();
      return false;
    }
  }
  bool done = configured_;
  try {
    if (configured_ && last_begin_ns_ < boot_ns) {
      begin_cycle(Collectors::kPatienceNs, false);
      if (!go_on()) return false;
      done = last_begin_ns_ >= boot_ns;
      if (!done) want(boot_ns);        // given up
      if (collectors_.owed()) wake();  // the pipeline's thread waits for the late ones
    }
  } catch (const std::exception& e) {
    given_up(e);
    done = false;
  }
  baton_.give();
  return done;
}

// Out of memory, or a bug: what was begun is lost, the next one is tried.
void Pipeline::given_up(const std::exception& e) {
  log::error("a collection was given up", {{"err", e.what()}});
  instruments_->failed.Increment();
  next_.reset();
  last_begin_ns_ = -1;
  retrying_ = false;  // a configuration goes on with the next collector
}

Result<> Pipeline::start(PipelineConfig config, std::int64_t first_patience_ns) {
  if (!wake_) return fail(from_errno("pipeline: eventfd", errno));
  first_patience_ns_ = first_patience_ns;
  {
    const MutexLock lock(mutex_);
    next_config_ = std::move(config);
    asked_configs_ = 1;
  }
  return crew_.start();
}

bool Pipeline::stop(std::int64_t patience_ns) {
  {
    const MutexLock lock(mutex_);
    stopped_ = true;
    configured_now_.notify_all();
  }
  const auto until_ns = SystemClock::read(CLOCK_MONOTONIC) + patience_ns;
  return crew_.stop([this] { wake(); }, patience_ns) &&
         away_.wait_for_none(std::max<std::int64_t>(0, until_ns - SystemClock::read(CLOCK_MONOTONIC)));
}

void Pipeline::end_receivers(std::int64_t patience_ns) {
  const std::unique_lock lock(judging_, std::chrono::nanoseconds(patience_ns));
  if (lock) judge_.end();
  else log::warn("ending while rules are evaluated: what waits for receivers is as it was a moment ago");
}

bool Pipeline::reload(PipelineConfig config, std::int64_t patience_ns) {
  const auto mine = [&] {
    const MutexLock lock(mutex_);
    next_config_ = std::move(config);
    return ++asked_configs_;
  }();
  wake();
  return wait_for_configurations(mine, patience_ns);
}

void Pipeline::want(std::int64_t boot_ns) {
  wanted_boot_ns_ = boot_ns;
  wake();
}

bool Pipeline::wait_for_configurations(std::uint64_t n, std::int64_t patience_ns) const {
  MutexLock lock(mutex_);
  const auto done = [&]() REQUIRES(mutex_) { return stopped_ || done_configs_ >= n; };
  return configured_now_.wait_for_ns(lock, patience_ns, done) && done_configs_ >= n;
}

void Pipeline::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = write(wake_.get(), &one, sizeof one);  // full only when already awake
}

CollectorStatuses Pipeline::status() const {
  const MutexLock lock(mutex_);
  return status_;
}

// What the holder before hangs in is left to it; the rest is done here.
bool Pipeline::end_what_hangs() {
  collectors_.step_hangs();
  return go_on();
}

template <class F>
bool Pipeline::with_baton(F&& f) {
  const bool taken_over = baton_.take();
  crew_.set_busy(true);
  return bring_to_end(taken_over, std::forward<F>(f));
}

// With the baton.
template <class F>
bool Pipeline::bring_to_end(bool taken_over, F&& f) {
  try {
    if ((taken_over && !end_what_hangs()) || !f()) return false;
  } catch (const std::exception& e) {
    given_up(e);
  }
  baton_.give();
  crew_.set_busy(false);
  return true;
}

// What came while this thread had the baton. Before it judges: scrapes do not wait for rules.
bool Pipeline::serve_wanted() {
  while (true) {
    const auto wanted_ns = wanted_boot_ns_.exchange(0);
    const bool retry = retry_wanted_.exchange(false);
    if (wanted_ns == 0 && !retry) return true;
    const bool mine = with_baton([&] {
      if (retry) {
        last_retry_ns_ = host_.clock().boot_ns();
        retrying_ = true;
        collectors_.begin_retry();
      }
      if (configured_ && last_begin_ns_ < wanted_ns) begin_cycle(Collectors::kPatienceNs, true);
      return go_on();
    });
    if (!mine) return false;
  }
}

bool Pipeline::judge_newest() {
  if (!serve_wanted()) return false;
  if (const auto newest = hub_.latest()) {
    const std::scoped_lock lock(judging_);
    if (!crew_.stopping()) judge_.judge(*newest, news_of_);
    if (callbacks_) callbacks_->tell(events_, host_.clock().wall_ns() - host_.clock().boot_ns());
  }
  if (config_judged_ != config_in_force_) {
    config_judged_ = config_in_force_;
    const MutexLock lock(mutex_);
    done_configs_ = config_number_;
    configured_now_.notify_all();
  }
  return true;
}

// False when another thread leads now.
bool Pipeline::handle_requests() {
  std::optional<PipelineConfig> config;
  {
    const MutexLock lock(mutex_);
    config.swap(next_config_);
    if (config) config_number_ = asked_configs_;
  }
  if (!config) return true;
  config->probes_later = config->probes_later || owes_probes_;  // those go on coming one by one
  configure_judge(*config);
  // Its first numbers come at once, and so does what the rules say of them.
  const auto patience_ns = std::exchange(first_patience_ns_, Collectors::kPatienceNs);
  return with_baton([&] {
    begin_configure(*config);
    begin_cycle(patience_ns, false);
    return go_on();
  });
}

std::int64_t Pipeline::NewsShare::wait_ns(std::int64_t now_ns, double most, std::int64_t each_ns) {
  const auto each = static_cast<double>(each_ns);
  left = std::min(most, left + static_cast<double>(now_ns - at_ns) / each);
  at_ns = now_ns;
  return left >= 1 ? 0 : static_cast<std::int64_t>((1 - left) * each) + 1;
}

// Until there is something to do: woken, a worker answered, or the time has come. False when another thread leads now.
bool Pipeline::wait(std::optional<std::int64_t> until_ns) {
  std::vector<pollfd> fds{{wake_.get(), POLLIN, 0}};
  std::vector<int> workers;
  std::vector<Collectors::News> news;
  const auto first_told = news_of_.size();
  std::int64_t quiet_until_ns = 0;
  if (!with_baton([&] {
        collectors_.add_worker_fds(workers);
        collectors_.add_news(news);
        quiet_until_ns = last_begin_ns_ + kNewsPauseNs;
        return true;
      }))
    return false;
  for (const int fd : workers) fds.push_back({fd, POLLIN, 0});
  std::int64_t left_ns = until_ns ? std::max<std::int64_t>(0, *until_ns - host_.clock().boot_ns()) : INT64_MAX;
  // How long until its news may bring a cycle; 0: now.
  const auto turn_of = [&](const Collectors::News& n) {
    const auto now_ns = host_.clock().boot_ns();
    auto& share = news_shares_[n.collector->name];
    const auto share_ns = n.collector->info->news_are_numbers ? share.wait_ns(now_ns, 2, 5 * kSecondNs)
                                                              : share.wait_ns(now_ns, 10, kSecondNs);
    return std::max({std::int64_t{0}, quiet_until_ns - now_ns, share_ns});
  };
  std::erase_if(news, [&](const auto& n) {
    // Numbers that no rule reads, and nothing that happened, need no cycle.
    const bool numbers = n.collector->info->news_are_numbers;
    if (numbers && !judge_.reads_any(n.collector->info->metrics)) return true;
    auto& share = news_shares_[n.collector->name];
    if (!share.heard) return false;
    const auto later_ns = turn_of(n);
    if (later_ns == 0) news_of_.push_back(n.collector->name);
    left_ns = std::min(left_ns, later_ns);
    return true;
  });
  const auto first_of_news = fds.size();
  for (const auto& n : news) fds.push_back({n.fd, POLLIN, 0});
  if (!workers.empty()) left_ns = std::min<std::int64_t>(left_ns, 1'000'000'000);  // their deadlines
  const timespec timeout{left_ns / 1'000'000'000, left_ns % 1'000'000'000};
  if (ppoll(fds.data(), fds.size(), left_ns == INT64_MAX ? nullptr : &timeout, nullptr) > 0 && fds[0].revents) {
    std::uint64_t n;
    [[maybe_unused]] const auto got = read(wake_.get(), &n, sizeof n);
  }
  for (auto i = first_of_news; i < fds.size(); ++i)
    if (fds[i].revents != 0) {
      const auto& n = news[i - first_of_news];
      if (turn_of(n) == 0) news_of_.push_back(n.collector->name);
      else news_shares_[n.collector->name].heard = true;
    }
  for (auto i = first_told, told = news_of_.size(); i < told; ++i) {
    const auto name = news_of_[i];
    auto& share = news_shares_[name];
    share.left -= 1;
    share.heard = false;
    for (const auto& other : kNewsAbout)
      if (other.of == name) news_of_.insert(news_of_.end(), other.about.begin(), other.about.end());
  }
  return workers.empty() || with_baton([&] { return collectors_.watch(), true; });
}

void Pipeline::lead(bool taken_over) {
  while (!crew_.stopping()) try {
      if (std::exchange(taken_over, false) && !(bring_to_end(true, [] { return true; }) && judge_newest())) return;
      if (!lead_once()) return;
    } catch (const std::exception& e) {  // no memory for as little as a list of descriptors
      log::error("the pipeline goes on after an exception", {{"err", e.what()}});
      instruments_->failed.Increment();
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
}

// False when another thread leads now.
bool Pipeline::lead_once() {
  if (!handle_requests()) return false;
  if (config_judged_ != config_in_force_ && !judge_newest()) return false;
  const bool timer = !judge_.idle() || (callbacks_ && !callbacks_->empty());
  const auto now_ns = host_.clock().boot_ns();
  if (timer && !had_timer_) tick_ns_ = now_ns + interval_ns_;  // the configuration brought a cycle of its own
  had_timer_ = timer;
  if (!serve_wanted()) return false;
  if (!news_of_.empty()) {
    if (!with_baton([&] { return begin_cycle(Collectors::kPatienceNs, true), go_on(); })) return false;
    if (timer && !judge_newest()) return false;
    news_of_.clear();
  }
  if (timer && now_ns >= tick_ns_) {
    if (!with_baton([&] { return begin_cycle(Collectors::kPatienceNs, true), go_on(); }) || !judge_newest())
      return false;
    // On an absolute schedule; what was missed is counted, not caught up.
    const auto behind = (host_.clock().boot_ns() - tick_ns_) / interval_ns_;
    if (behind > 0) instruments_->missed.Increment(static_cast<double>(behind));
    tick_ns_ += (behind + 1) * interval_ns_;
  }
  if (owes_probes_) {  // one at a time: whoever wants numbers meanwhile waits for no more than that
    return with_baton([&] {
      collectors_.begin_make_next();
      if (collectors_.left_to_make() > 1) return go_on();
      owes_probes_ = false;
      begin_cycle(Collectors::kPatienceNs, false);  // nobody need wait for the age of the first numbers to have theirs
      return go_on();
    });
  }
  return wait(timer ? std::optional(tick_ns_) : std::nullopt);
}

}  // namespace vitald
