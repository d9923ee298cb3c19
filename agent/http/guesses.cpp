// SPDX-License-Identifier: Apache-2.0
#include "agent/http/guesses.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace vitald {
namespace {

constexpr std::size_t kMostGood = 256;   // more than the users of any host; each has one good password
constexpr std::size_t kMostKept = 1024;  // peers or shares whose wrong ones are counted

}  // namespace

void Guesses::Wrongs::add(std::int64_t now_boot_ns) {
  const auto halves = static_cast<double>(now_boot_ns - last_boot_ns) / static_cast<double>(kForgetNs);
  count = count * std::exp2(-std::max(halves, 0.0)) + 1;
  last_boot_ns = now_boot_ns;
}

// With room for it: whoever was wrong longest ago is forgotten.
Guesses::Wrongs& Guesses::of(std::map<std::string, Wrongs, std::less<>>& all, const std::string& key) {
  if (all.size() >= kMostKept && !all.contains(key))
    all.erase(std::ranges::min_element(all, {}, [](const auto& entry) { return entry.second.last_boot_ns; }));
  return all[key];
}

bool Guesses::add(Job job) {
  const auto same = share(job);
  const auto of_share = std::ranges::count_if(jobs_, [&](const Job& j) { return share(j) == same; });
  if (jobs_.size() >= kMost || static_cast<std::size_t>(of_share) >= kMostOfShare) return false;
  jobs_.push_back(std::move(job));
  return true;
}

bool Guesses::waits(const Digest& digest) const {
  return std::ranges::find(comparing_, digest) != comparing_.end() ||
         std::ranges::find(jobs_, digest, &Job::digest) != jobs_.end();
}

std::optional<Guesses::Job> Guesses::take() {
  if (jobs_.empty()) return std::nullopt;
  auto next = jobs_.begin();
  if (turn_++ % 2 == 0) {
    auto fewest = std::numeric_limits<double>::infinity();
    for (auto it = jobs_.begin(); it != jobs_.end(); ++it) {
      const auto wrongs = by_share_.find(share(*it));
      const auto count = wrongs == by_share_.end() ? 0.0 : wrongs->second.count;
      if (count > fewest) continue;
      fewest = count;
      next = it;
    }
  }
  comparing_.push_back(next->digest);
  Job job = std::move(*next);
  jobs_.erase(next);
  return job;
}

void Guesses::decided(const Job& job, bool good, std::int64_t now) {
  if (const auto it = std::ranges::find(comparing_, job.digest); it != comparing_.end()) comparing_.erase(it);
  if (good) {
    if (good_.size() >= kMostGood)
      good_.erase(std::ranges::min_element(good_, {}, [](const auto& g) { return g.second; }));
    good_[job.digest] = now;
    return;
  }
  auto& peer = of(by_peer_, job.peer);
  peer.add(now);
  of(by_share_, share(job)).add(now);
  const auto held = std::ranges::count_if(wrong_, [&](const auto& w) { return w.second.until_boot_ns > now; });
  const auto delay_ns = std::min(kLongestNs, static_cast<std::int64_t>(peer.count * static_cast<double>(kStepNs)));
  if (wrong_.size() >= kRemembered)
    wrong_.erase(std::ranges::min_element(wrong_, {}, [](const auto& w) { return w.second.number; }));
  wrong_[job.digest] = {static_cast<std::size_t>(held) < kMostHeld ? now + delay_ns : now, ++wrongs_};
}

Guesses::Known Guesses::known(const Digest& digest, std::int64_t& until_boot_ns) const {
  if (good_.contains(digest)) return Known::good;
  const auto wrong = wrong_.find(digest);
  if (wrong == wrong_.end()) return Known::no;
  until_boot_ns = wrong->second.until_boot_ns;
  return Known::wrong;
}

}  // namespace vitald
