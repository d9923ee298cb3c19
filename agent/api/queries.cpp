// SPDX-License-Identifier: Apache-2.0
#include "agent/api/queries.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>

#include "agent/api/json.h"
#include "agent/api/prom_params.h"
#include "agent/os/memory.h"
#include "core/instruments.h"

namespace vitald {

namespace {

constexpr std::int64_t kLongNs = 50'000'000;
constexpr std::size_t kMostCached = 64, kMostCachedBytes = 1 << 20;

// An empty history for those that have none: `1+1` has an answer all the same.
std::shared_ptr<const History> no_history() {
  static const auto kNone = std::make_shared<const History>(History::Settings{});
  return kNone;
}

struct Counters {
  prometheus::Counter& ok = counter("success");
  prometheus::Counter& bad = counter("bad_data");
  prometheus::Counter& failed = counter("execution");
  prometheus::Counter& late = counter("timeout");
  prometheus::Counter& refused = counter("unavailable");
  prometheus::Counter& seconds =
      instruments().counter("vitald_query_seconds_total", "How long queries of the API took, all together.");
  prometheus::Counter& cached = instruments().counter(
      "vitald_query_cache_hits_total", "Queries of the API that were answered with what was found in this round.");
  static prometheus::Counter& counter(const char* result) {
    return instruments().counter("vitald_queries_total", "Queries of the API, by how they ended.",
                                 {{"result", result}});
  }
};

}  // namespace

struct Queries::Impl {
  struct Cached {
    std::string key;
    Response response;
  };

  Impl(Settings s, Source h, const Clock& c) : history(std::move(h)), clock(c), settings(s) {}

  Counters& told() REQUIRES(mutex) {
    if (!counters) counters.emplace();  // a host that nobody asks has no series of it
    return *counters;
  }

  void forget_old(std::int64_t round) REQUIRES(mutex) {
    if (std::exchange(cached_round, round) == round) return;
    cache.clear();
    cached_bytes = 0;
  }
  void remember(std::int64_t round, const std::string& key, const Response& response) REQUIRES(mutex) {
    if (key.empty() || cached_round != round || response.body->size() > kMostCachedBytes / 4) return;
    cache.push_back({key, response});
    cached_bytes += key.size() + response.body->size();
    while (cache.size() > kMostCached || cached_bytes > kMostCachedBytes) {
      cached_bytes -= cache.front().key.size() + cache.front().response.body->size();
      cache.pop_front();
    }
  }

  void in_flight(std::int64_t change) {
    const MutexLock lock(mutex);
    stats.in_flight += change;
  }

  const Source history;
  const Clock& clock;
  std::unique_ptr<Jobs> jobs;
  mutable Mutex mutex;
  Settings settings GUARDED_BY(mutex);
  Stats stats GUARDED_BY(mutex);
  std::optional<Counters> counters GUARDED_BY(mutex);
  std::int64_t cached_round GUARDED_BY(mutex) = INT64_MIN;  // when the round was that the cache is of
  std::deque<Cached> cache GUARDED_BY(mutex);
  std::size_t cached_bytes GUARDED_BY(mutex) = 0;
};

namespace {

template <class Impl>
class InFlight {
 public:
  explicit InFlight(Impl& impl) : impl_(impl) { impl_.in_flight(1); }
  ~InFlight() { impl_.in_flight(-1); }
  InFlight(const InFlight&) = delete;

 private:
  Impl& impl_;
};

}  // namespace

Queries::Queries(Settings settings, Source history, std::shared_ptr<const Wake> wake, const Clock& clock)
    : impl_(std::make_shared<Impl>(settings, std::move(history), clock)) {
  // Behind everything else that this process does: a scrape or a cycle at the same time takes the CPU first.
  impl_->jobs = std::make_unique<Jobs>(
      Jobs::Settings{.thread = "query", .threads = settings.max_concurrency, .waiting = 64, .nice = 10},
      std::move(wake), clock);
}
Queries::~Queries() { impl_->jobs.reset(); }

bool Queries::end(std::int64_t most_ns) { return impl_->jobs->end(most_ns); }

void Queries::set(Settings settings) {
  impl_->jobs->set_threads(settings.max_concurrency);
  const MutexLock lock(impl_->mutex);
  impl_->settings = settings;
  impl_->forget_old(INT64_MIN);  // it may be another dialect
}

Queries::Settings Queries::settings() const {
  const MutexLock lock(impl_->mutex);
  return impl_->settings;
}

Queries::Stats Queries::stats() const {
  const MutexLock lock(impl_->mutex);
  return impl_->stats;
}

std::shared_ptr<HistoryView> Queries::view() const {
  auto history = impl_->history ? impl_->history() : nullptr;
  if (!history) history = no_history();
  return history->view();
}

Answer Queries::run(const Ask& ask, Work work) {
  auto& impl = *impl_;
  const auto view = this->view();
  const auto round = view->now_wall_ms();
  // Without a history there are no rounds: what was kept would be the answer for good.
  const auto key = ask.key.empty() || !keeps_history(*view) ? std::string() : ask.key + (ask.gzip ? '1' : '0');
  QueryLimits limits;
  std::int64_t timeout_ns = 0;
  {
    const MutexLock lock(impl.mutex);
    ++impl.stats.queries;
    impl.forget_old(round);
    if (const auto found = std::ranges::find(impl.cache, key, &Impl::Cached::key);
        !key.empty() && found != impl.cache.end()) {
      ++impl.stats.cache_hits;
      impl.told().cached.Increment();
      impl.told().ok.Increment();
      return found->response;
    }
    ++impl.stats.cache_misses;
    limits.lookback_ms = ask.lookback_ms > 0 ? ask.lookback_ms : impl.settings.lookback_ns / 1'000'000;
    limits.max_samples = impl.settings.max_samples;
    limits.language = impl.settings.language;
    limits.dialect = impl.settings.dialect;
    timeout_ns = impl.settings.timeout_ns;
  }
  if (ask.timeout_ns > 0) timeout_ns = std::min(timeout_ns, ask.timeout_ns);
  auto job = [shared = impl_, view, round, key, limits, gzip = ask.gzip, type = ask.content_type,
              work = std::move(work)](const Jobs::GivenUp& given_up) mutable {
    limits.given_up = given_up;
    view->give_up_when(given_up);
    const auto begin_ns = shared->clock.boot_ns();
    const InFlight in_flight(*shared);
    Outcome outcome;
    if (given_up()) {
      outcome.failed = true;
      outcome.error = api_error(ApiError::timeout, "query timed out in query queue");
    } else {
      outcome = work(*view, limits);
      if (view->gave_up())
        outcome = {{}, api_error(ApiError::timeout, "query timed out in expression evaluation"), true};
    }
    auto response =
        packed(outcome.failed ? std::move(outcome.error) : json_response(200, std::move(outcome.body)), gzip);
    if (!type.empty() && !outcome.failed) {
      response.content_type = type;
      response.headers.emplace_back("Vary", "Accept");
    }
    const auto took_ns = shared->clock.boot_ns() - begin_ns;
    // What a large one was made from is in small pieces, which would stay.
    if (took_ns > kLongNs) give_back_free_memory();
    const MutexLock lock(shared->mutex);
    auto& told = shared->told();
    (response.status == 200   ? told.ok
     : response.status == 400 ? told.bad
     : response.status == 503 ? told.late
                              : told.failed)
        .Increment();
    told.seconds.Increment(static_cast<double>(took_ns) / 1e9);
    shared->stats.last_ms = static_cast<double>(took_ns) / 1e6;
    shared->stats.sum_ms += shared->stats.last_ms;
    shared->stats.last_wall_ms = shared->clock.wall_ns() / 1'000'000;
    if (response.status == 200) shared->remember(round, key, response);
    return response;
  };
  if (auto pending = impl.jobs->run(std::move(job), ask.arrived_boot_ns + timeout_ns)) return pending;
  const MutexLock lock(impl.mutex);
  impl.told().refused.Increment();
  return api_error(ApiError::unavailable, "too many queries wait already; try again later");
}

Answer Queries::run(const Request& request, bool patterns, std::function<Response(promql::PatternBudget&)> work) {
  if (!patterns) {
    auto budget = promql::PatternBudget::of_request();
    return work(budget);
  }
  Ask ask;
  ask.arrived_boot_ns = request.arrived_boot_ns;
  return run(ask, [work = std::move(work)](HistoryView&, const QueryLimits& limits) {
    auto budget = promql::PatternBudget::of_request(limits.given_up);
    auto response = work(budget);
    if (budget.gave_up) response = api_error(ApiError::timeout, "timed out in the regular expressions");
    return Outcome{{}, std::move(response), true};
  });
}

}  // namespace vitald
