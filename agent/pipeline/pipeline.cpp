// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/pipeline.h"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "agent/pipeline/derive.h"
#include "core/instruments.h"
#include "core/log.h"

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
  prometheus::Counter& cycles = instruments().counter("vitald_cycles_total", "Collections of all collectors.");
  prometheus::Counter& events = instruments().counter("vitald_events_total", "Events that collectors told of.");
  prometheus::Counter& events_left_out = instruments().counter(
      "vitald_events_left_out_total", "Events beyond what one collection may bring; they are only counted.");
  prometheus::Counter& missed = instruments().counter(
      "vitald_cycles_missed_total", "Scheduled collections left out because one before took too long.");
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
      collectors_(host, entries, std::move(make_worker)),
      instruments_(std::make_unique<Instruments>()),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Pipeline::~Pipeline() {
  if (thread_.joinable()) {
    stop(0);
    thread_.join();
  }
}

void Pipeline::configure(PipelineConfig config) {
  interval_ns_ = config.options->duration_ns("pipeline.interval");
  judge_.configure(std::move(config.rules), std::move(config.hooks), std::move(config.state));
  collectors_.configure(config.options);
  last_retry_ns_ = host_.clock().boot_ns();
  configured_ = true;
  const std::lock_guard lock(mutex_);
  status_ = collectors_.status();
}

SnapshotPtr Pipeline::cycle(std::int64_t patience_ns) {
  auto snapshot = std::make_shared<Snapshot>();
  const auto begin_ns = host_.clock().boot_ns();
  last_begin_ns_ = begin_ns;
  snapshot->sequence = ++sequence_;
  snapshot->boot_ns = begin_ns;
  snapshot->wall_ns = host_.clock().wall_ns();
  if (begin_ns - last_retry_ns_ >= Collectors::kRetryNs) {
    last_retry_ns_ = begin_ns;
    collectors_.retry();
  }
  auto& batches = snapshot->batches;
  collectors_.collect(batches, patience_ns);

  writer_.begin(begin_ns, snapshot->wall_ns);
  writer_.set(kMetrics[0], 1, VITALD_VERSION, kCompiler);
  writer_.set(kMetrics[1], static_cast<double>(snapshot->wall_ns) / 1e9);
  writer_.set(kMetrics[2], 1, "vitald", kGoArch, "linux", kCompiler, VITALD_VERSION, "unknown", kNodeExporter);
  collectors_.emit_rest(writer_);
  insert_batch(*snapshot, writer_.finish({}, 0, 0));
  collectors_.derive(*snapshot);
  judge_.add_results(*snapshot);
  guard_.check(batches);
  if (collectors_.take_changed()) {
    auto status = collectors_.status();
    const std::lock_guard lock(mutex_);
    status_.swap(status);
  }
  const auto events_before = events_.newest(), left_out_before = events_.left_out();
  events_.append(*snapshot);
  instruments_->events.Increment(static_cast<double>(events_.newest() - events_before));
  instruments_->events_left_out.Increment(static_cast<double>(events_.left_out() - left_out_before));
  hub_.publish(snapshot);
  instruments_->cycles.Increment();
  instruments_->seconds.Observe(static_cast<double>(host_.clock().boot_ns() - begin_ns) / 1e9);
  if (on_publish_) on_publish_();
  return snapshot;
}

bool Pipeline::collect(std::int64_t boot_ns) {
  if (cycle_for(boot_ns)) return true;
  // Whoever has the turn may only look after workers, or run a cycle that began too early. It looks at wanted_boot_ns_
  // when it is done; if it was done before that was set, the turn is free now.
  wanted_boot_ns_ = boot_ns;
  if (cycle_for(boot_ns)) return true;
  wake();
  return false;
}

// False, at once, when another thread has the turn.
bool Pipeline::cycle_for(std::int64_t boot_ns) {
  const std::unique_lock turn(turn_, std::try_to_lock);
  if (!turn || !configured_) return false;
  if (last_begin_ns_ >= boot_ns) return true;
  cycle();
  if (collectors_.owed()) wake();  // the pipeline's thread waits for the late ones
  return true;
}

// What came while this thread had the turn. Before it judges: scrapes do not wait for rules.
void Pipeline::serve_wanted() {
  while (const auto wanted_ns = wanted_boot_ns_.exchange(0)) {
    const std::lock_guard turn(turn_);
    if (last_begin_ns_ < wanted_ns) cycle();
  }
}

void Pipeline::judge_newest() {
  serve_wanted();
  if (const auto newest = hub_.latest()) judge_.judge(*newest);
}

void Pipeline::start(PipelineConfig config) {
  next_config_ = std::move(config);
  thread_ = std::thread([this] { loop(); });
}

bool Pipeline::stop(std::int64_t patience_ns) {
  std::unique_lock lock(mutex_);
  stop_ = true;
  wake();
  if (!stopped_.wait_for(lock, std::chrono::nanoseconds(patience_ns), [this] { return ended_ || !thread_.joinable(); }))
    return false;
  lock.unlock();
  if (thread_.joinable()) thread_.join();
  return true;
}

void Pipeline::reload(PipelineConfig config) {
  {
    const std::lock_guard lock(mutex_);
    next_config_ = std::move(config);
  }
  wake();
}

void Pipeline::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = write(wake_.get(), &one, sizeof one);  // full only when already awake
}

CollectorStatuses Pipeline::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

// False when it is time to end.
bool Pipeline::handle_requests() {
  std::optional<PipelineConfig> config;
  {
    const std::lock_guard lock(mutex_);
    if (stop_) return false;
    config.swap(next_config_);
  }
  if (config) {  // its first numbers come at once, and so does what the rules say of them
    {
      const std::lock_guard turn(turn_);
      configure(std::move(*config));
      cycle();
    }
    judge_newest();
  }
  return true;
}

// Until there is something to do: woken, a worker answered, or the time has come.
void Pipeline::wait(std::optional<std::int64_t> until_ns) {
  std::vector<pollfd> fds{{wake_.get(), POLLIN, 0}};
  std::vector<int> workers;
  {
    const std::lock_guard turn(turn_);
    collectors_.add_worker_fds(workers);
  }
  for (const int fd : workers) fds.push_back({fd, POLLIN, 0});
  std::int64_t left_ns = until_ns ? std::max<std::int64_t>(0, *until_ns - host_.clock().boot_ns()) : INT64_MAX;
  if (!workers.empty()) left_ns = std::min<std::int64_t>(left_ns, 1'000'000'000);  // their deadlines
  const timespec timeout{left_ns / 1'000'000'000, left_ns % 1'000'000'000};
  if (ppoll(fds.data(), fds.size(), left_ns == INT64_MAX ? nullptr : &timeout, nullptr) > 0 && fds[0].revents) {
    std::uint64_t n;
    [[maybe_unused]] const auto got = read(wake_.get(), &n, sizeof n);
  }
  if (workers.empty()) return;
  const std::lock_guard turn(turn_);
  collectors_.watch();
}

void Pipeline::loop() {
  pthread_setname_np(pthread_self(), "pipeline");
  std::int64_t tick_ns = 0;
  bool had_timer = false;
  while (handle_requests()) {
    const bool timer = !judge_.idle();
    const auto now_ns = host_.clock().boot_ns();
    if (timer && !had_timer) tick_ns = now_ns + interval_ns_;  // the configuration brought a cycle of its own
    had_timer = timer;
    serve_wanted();
    const bool due = timer && now_ns >= tick_ns;
    if (due) {
      {
        const std::lock_guard turn(turn_);
        cycle();
      }
      judge_newest();
      // On an absolute schedule; what was missed is counted, not caught up.
      const auto behind = (host_.clock().boot_ns() - tick_ns) / interval_ns_;
      if (behind > 0) instruments_->missed.Increment(static_cast<double>(behind));
      tick_ns += (behind + 1) * interval_ns_;
    }
    wait(timer ? std::optional(tick_ns) : std::nullopt);
  }
  const std::lock_guard lock(mutex_);
  ended_ = true;
  stopped_.notify_all();
}

}  // namespace vitald
