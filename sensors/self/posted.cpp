// SPDX-License-Identifier: Apache-2.0
// Events that programs of this host post (POST /api/v1/events): they travel as those that vitald sees itself.
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "core/batch.h"
#include "core/collector.h"
#include "sensors/self/posted_events.h"

namespace vitald {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

constexpr MetricDesc kMetrics[] = {
    {"vitald_posted_events_total", MetricType::counter,
     "Events that programs of this host posted: taken, full (too many waited), malformed.", "result", "",
     "POST /api/v1/events"},
};

class Posted final : public Collector {
 public:
  explicit Posted(PostedEvents& posted) : posted_(posted) {}

  Result<> collect(BatchWriter& out) override {
    for (auto& event : posted_.take(Batch::kMaxEvents)) out.event(std::move(event));
    out.set(kMetrics[0], static_cast<double>(posted_.taken()), "taken");
    out.set(kMetrics[0], static_cast<double>(posted_.refused()), "full");
    out.set(kMetrics[0], static_cast<double>(posted_.malformed()), "malformed");
    return {};
  }
  [[nodiscard]] int news_fd() const override { return posted_.fd(); }

 private:
  PostedEvents& posted_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  return std::make_unique<Posted>(host.shared<PostedEvents>());
}

}  // namespace

PostedEvents::PostedEvents() : timer_(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK)) {}

bool PostedEvents::add(Event event, std::int64_t now_boot_ns) {
  const MutexLock lock(mutex_);
  if (waiting_.size() >= kMost) {
    ++refused_;
    return false;
  }
  waiting_.push_back(std::move(event));
  ++taken_;
  if (std::exchange(armed_, true)) return true;
  last_ns_ = std::max(now_boot_ns, last_ns_ + kSecond);
  itimerspec when{};
  when.it_value.tv_sec = last_ns_ / kSecond;
  when.it_value.tv_nsec = last_ns_ % kSecond + 1;  // never 0, which would be never
  if (when.it_value.tv_nsec >= kSecond) when.it_value.tv_nsec = kSecond - 1;
  timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);  // without it they come with the next collection
  return true;
}

std::vector<Event> PostedEvents::take(std::size_t most) {
  const MutexLock lock(mutex_);
  std::uint64_t times = 0;
  if (::read(timer_.get(), &times, sizeof times) > 0 || !waiting_.empty()) armed_ = false;
  std::vector<Event> out;
  while (!waiting_.empty() && out.size() < most) {
    out.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return out;
}

std::uint64_t PostedEvents::taken() const {
  const MutexLock lock(mutex_);
  return taken_;
}
std::uint64_t PostedEvents::refused() const {
  const MutexLock lock(mutex_);
  return refused_;
}
std::uint64_t PostedEvents::malformed() const {
  const MutexLock lock(mutex_);
  return malformed_;
}
void PostedEvents::count_malformed() {
  const MutexLock lock(mutex_);
  ++malformed_;
}

extern const CollectorInfo collector_posted;
const CollectorInfo collector_posted{kMetrics, {}, make};

}  // namespace vitald
