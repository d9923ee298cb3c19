// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/budget.h"

#include <algorithm>
#include <functional>

namespace vitald {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
// Over how long the cost is taken together, but where it is out of all proportion.
constexpr std::int64_t kTogetherNs = 10 * kSecond, kAtOnceNs = kSecond;
constexpr double kAtOnce = 4;
// How long a probe stays off for the first time, and at most; it has fitted when it was on for so long.
constexpr std::int64_t kFirstNs = 60 * kSecond, kLongestNs = 3600 * kSecond, kFittedNs = 600 * kSecond;
// What takes less of the limit would free nothing.
constexpr double kWorth = 0.02;
// Below this part of the limit there is room for one more.
constexpr double kRoom = 0.8;

}  // namespace

void ProbeBudget::set_limit(double cpus) {
  const MutexLock lock(mutex_);
  if (cpus == limit_) return;
  limit_ = cpus;
  changed_ = true;
}

void ProbeBudget::forget(std::string_view probe) {
  const MutexLock lock(mutex_);
  const auto it = std::ranges::find(probes_, probe, &std::pair<std::string, Probe>::first);
  if (it == probes_.end()) return;
  probes_.erase(it);
  for (auto& [key, cost] : costs_)
    if (cost.teller == probe) cost.teller.clear();
  forget_unused();
  count_users();
}

void ProbeBudget::forget_unused() {
  std::erase_if(costs_, [&](const auto& cost) REQUIRES(mutex_) {
    return std::ranges::none_of(probes_, [&](const auto& p) {
      return std::ranges::find(p.second.programs, cost.first) != p.second.programs.end();
    });
  });
}

bool ProbeBudget::look(std::string_view name, std::uint8_t rank, std::span<const Program> programs,
                       std::int64_t now_ns) {
  const MutexLock lock(mutex_);
  auto at = std::ranges::lower_bound(probes_, name, std::less<>(), &std::pair<std::string, Probe>::first);
  if (at == probes_.end() || at->first != name)
    at = probes_.emplace(at, std::string(name), Probe{rank, true, {}, now_ns, 0});
  auto& probe = at->second;
  if (!std::ranges::equal(programs, probe.programs, {}, &Program::key)) {
    for (const auto* key : probe.programs)
      if (auto& cost = cost_of(key); cost.teller == name) cost.teller.clear();
    probe.programs.clear();
    for (const auto& program : programs) probe.programs.push_back(program.key);
    forget_unused();
    count_users();
  }
  bool news = changed_;
  for (const auto& program : programs) {
    auto& cost = cost_of(program.key);
    if (cost.teller.empty()) {
      cost.teller = name;
      cost.before = cost.seconds = program.seconds;
      cost.began_ns = cost.told_ns = now_ns;
    }
    if (cost.teller == name) news |= tell(cost, program.seconds, now_ns);
  }
  if (news) judge(now_ns);
  return probe.on;
}

ProbeBudget::Cost& ProbeBudget::cost_of(const void* key) {
  const auto at = std::ranges::find(costs_, key, &std::pair<const void*, Cost>::first);
  return at == costs_.end() ? costs_.emplace_back(key, Cost()).second : at->second;
}

// True when it says something new.
bool ProbeBudget::tell(Cost& cost, double seconds, std::int64_t now_ns) {
  cost.seconds = seconds;
  cost.told_ns = now_ns;
  const auto elapsed_ns = now_ns - cost.began_ns;
  if (elapsed_ns < kAtOnceNs) return false;
  cost.peak = (cost.seconds - cost.before) / (static_cast<double>(elapsed_ns) / 1e9);
  if (elapsed_ns < kTogetherNs) return true;
  cost.rate = cost.peak;
  cost.before = cost.seconds;
  cost.began_ns = now_ns;
  return true;
}

void ProbeBudget::judge(std::int64_t now_ns) {
  bool decided = false;
  if (changed_) {
    changed_ = false;
    decided = true;
    for (auto& [name, probe] : probes_) {
      probe.on = true;
      probe.since_ns = now_ns;
      probe.wait_ns = 0;
    }
    count_users();
  } else if (limit_ > 0) {
    const auto rate = all(&Cost::rate);
    if (all(&Cost::peak) > kAtOnce * limit_) decided = shed(&Cost::peak, now_ns);
    else if (rate > limit_) decided = shed(&Cost::rate, now_ns);
    else if (rate <= kRoom * limit_ && now_ns - decided_ns_ >= kTogetherNs) decided = bring_back(now_ns);
  }
  if (!decided) return;
  // What was before says nothing of what is now.
  decided_ns_ = now_ns;
  for (auto& [key, cost] : costs_) {
    cost.rate = cost.peak = 0;
    cost.before = cost.seconds;
    cost.began_ns = cost.told_ns;
  }
}

// After any probe came, went, or was turned on or off.
void ProbeBudget::count_users() {
  for (auto& [key, cost] : costs_) cost.users = 0;
  for (const auto& [name, probe] : probes_)
    if (probe.on)
      for (const auto* key : probe.programs) ++cost_of(key).users;
}

double ProbeBudget::all(Rate rate) const {
  double sum = 0;
  for (const auto& [key, cost] : costs_)
    if (cost.users > 0) sum += cost.*rate;
  return sum;
}

double ProbeBudget::part_of(const Probe& probe, Rate rate) const {
  double sum = 0;
  for (const auto* key : probe.programs)
    if (const auto cost = std::ranges::find(costs_, key, &std::pair<const void*, Cost>::first); cost != costs_.end())
      sum += cost->second.*rate / static_cast<double>(std::max<std::ptrdiff_t>(1, cost->second.users));
  return sum;
}

bool ProbeBudget::shed(Rate rate, std::int64_t now_ns) {
  bool any = false;
  for (auto over = all(rate) - limit_; over > 0; any = true) {
    Probe* first = nullptr;
    for (auto& [name, probe] : probes_)
      if (probe.on && part_of(probe, rate) >= kWorth * limit_ && (!first || probe.rank > first->rank)) first = &probe;
    if (!first) return any;
    over -= part_of(*first, rate);
    if (first->wait_ns == 0 || now_ns - first->since_ns >= kFittedNs) first->wait_ns = kFirstNs;
    else first->wait_ns = std::min(2 * first->wait_ns, kLongestNs);
    first->on = false;
    first->since_ns = now_ns;
    count_users();
  }
  return any;
}

bool ProbeBudget::bring_back(std::int64_t now_ns) {
  Probe* first = nullptr;
  for (auto& [name, probe] : probes_)
    if (!probe.on && now_ns - probe.since_ns >= probe.wait_ns && (!first || probe.rank < first->rank)) first = &probe;
  if (!first) return false;
  first->on = true;
  first->since_ns = now_ns;
  count_users();
  return true;
}

}  // namespace vitald
