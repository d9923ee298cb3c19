// SPDX-License-Identifier: Apache-2.0
#include "sensors/derived/energy_split.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace vitald {
namespace {

constexpr double kSampleSeconds = 1;
// A cycle so many times as long as the one before it, and this many seconds more: the machine slept.
constexpr double kSleptTimes = 4, kSleptSeconds = 2;

}  // namespace

void EnergySplit::cycle(std::int64_t at_ns, std::span<const Package> packages, std::span<const Use> uses,
                        bool uses_are_new) {
  if (packages_.size() < packages.size()) packages_.resize(packages.size());
  if (uses_are_new) {
    for (const auto& use : uses) {
      if (use.owner >= active_.size()) active_.resize(use.owner + 1);
      if (use.package >= packages_.size()) packages_.resize(use.package + 1);
      auto& p = packages_[use.package];
      if (use.owner >= p.cpu.size()) p.cpu.resize(active_.size(), 0), p.weights.resize(active_.size(), 0);
      auto& cpu = p.cpu[use.owner];
      // What went down began anew.
      const double before = use.cpu_seconds >= cpu ? cpu : 0;
      const double grown = had_uses_ ? use.cpu_seconds - before : 0;
      cpu = use.cpu_seconds;
      if (!(grown > 0)) continue;
      p.weights[use.owner] += grown;
      p.used_s += grown;
    }
    had_uses_ = true;
  }
  for (std::size_t i = 0; i < packages.size(); ++i) split(packages_[i], packages[i], at_ns, uses_are_new);
}

void EnergySplit::split(PackageState& p, const Package& now, std::int64_t at_ns, bool uses_are_new) {
  if (!is_counter(now.joules)) return;
  const auto counter = static_cast<std::int64_t>(std::llround(now.joules * 1e6));
  const auto before = p.counter;
  const double seconds = static_cast<double>(std::max<std::int64_t>(0, at_ns - p.at_ns)) / 1e9;
  p.counter = counter;
  p.at_ns = at_ns;
  const auto used_s = std::exchange(p.used_s, 0);
  if (!before || counter < *before) {
    if (before) ++p.resets;
    std::ranges::fill(p.weights, 0);
    p.lost_s = 0;
    p.sample_joules = p.sample_used_s = p.sample_s = 0;
    p.sample_whole = true;
    return;
  }
  const auto grown = static_cast<std::uint64_t>(counter - *before);
  p.counted += grown;

  // Until it is known what the processor takes when idle, nobody can be charged with the rest.
  std::uint64_t active = 0;
  if (const auto watts = p.idle_power.watts()) {
    const auto idle = std::min(grown, static_cast<std::uint64_t>(std::llround(*watts * seconds * 1e6)));
    p.idle += idle;
    active = grown - idle;
    p.unattributed += active - give(p, active, used_s);
  } else {
    p.unattributed += grown;
  }
  std::ranges::fill(p.weights, 0);
  p.lost_s = 0;

  p.sample_joules += static_cast<double>(grown) / 1e6;
  p.sample_used_s += used_s;
  p.sample_s += seconds;
  const bool stale = std::exchange(p.stale, !uses_are_new);  // uses that come now are of the cycles before as well
  // Nothing says of a time what the processor takes awake when the meter did not count in it (it began anew, it stands
  // still), or when the machine slept.
  const double last_s = std::exchange(p.cycle_s, seconds);
  const bool slept = last_s > 0 && seconds > kSleptTimes * last_s + kSleptSeconds;
  p.sample_whole = p.sample_whole && uses_are_new && !stale && grown > 0 && !slept;
  if (p.sample_s < kSampleSeconds) return;
  if (p.sample_whole && now.cpus > 0)
    p.idle_power.sample(std::min(1.0, p.sample_used_s / p.sample_s / now.cpus), p.sample_joules / p.sample_s,
                        p.sample_s);
  p.sample_joules = p.sample_used_s = p.sample_s = 0;
  p.sample_whole = true;
}

// By CPU time; what of it was used by somebody who is gone is nobody's. Gives how much was given.
std::uint64_t EnergySplit::give(const PackageState& p, std::uint64_t active, double used_s) {
  if (!(used_s > 0) || active == 0) return 0;
  const double each = static_cast<double>(active) / used_s;
  std::uint64_t given = 0;
  std::size_t most = 0;
  for (std::size_t i = 0; i < p.weights.size(); ++i) {
    if (p.weights[i] <= 0) continue;
    if (p.weights[i] > p.weights[most]) most = i;
    // Rounded down, and never more than there is.
    const auto part = std::min(active - given, static_cast<std::uint64_t>(each * p.weights[i]));
    active_[i] += part;
    given += part;
  }
  if (p.lost_s > 0 || p.weights.empty()) return given;
  active_[most] += active - given;  // some microjoules
  return active;
}

void EnergySplit::drop(std::uint32_t owner) {
  if (owner >= active_.size()) return;
  gone_ += std::exchange(active_[owner], 0);
  for (auto& p : packages_) {
    if (owner >= p.cpu.size()) continue;
    p.cpu[owner] = 0;
    p.lost_s += std::exchange(p.weights[owner], 0);
  }
}

std::uint64_t EnergySplit::idle() const {
  std::uint64_t sum = 0;
  for (const auto& p : packages_) sum += p.idle;
  return sum;
}

}  // namespace vitald
