// SPDX-License-Identifier: Apache-2.0
#include "agent/http/guesses.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>
#include <vector>

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

void Guesses::asked(const Digest& digest, std::int64_t arrived_boot_ns) {
  if (asked_.size() >= kRemembered && !asked_.contains(digest))  // whoever came in an attack that is over
    std::erase_if(asked_, [&](const auto& a) { return a.second.arrived_boot_ns + kAskedNs < arrived_boot_ns; });
  if (asked_.size() >= kRemembered && !asked_.contains(digest))  // the one that insists least
    asked_.erase(
        std::ranges::min_element(asked_, {}, [](const auto& a) { return std::pair(a.second.times, a.second.number); }));
  auto& asked = asked_[digest];
  if (arrived_boot_ns <= asked.arrived_boot_ns) return;  // a request that waits, and looks again
  asked = {asked.times + 1, ++asks_, arrived_boot_ns};
}

Guesses::Asked Guesses::asked_of(const Digest& digest) const {
  const auto asked = asked_.find(digest);
  return asked == asked_.end() ? Asked{} : asked->second;
}

void Guesses::add(Job job, std::int64_t now_boot_ns) {
  out_.erase(job.digest);
  const auto of_share = std::ranges::count_if(jobs_, [&](const auto& j) { return share(j) == share(job); });
  if (static_cast<std::size_t>(of_share) >= kMostOfShare) {
    push_out([&](const Job& j) { return share(j) == share(job); }, now_boot_ns);
  } else if (jobs_.size() >= kMost) {
    // By peers and not by shares: whoever has a new name for each guess has as many shares as he likes.
    std::map<std::string, std::size_t> waiting;
    for (const auto& j : jobs_) ++waiting[j.peer];
    const auto most = std::ranges::max_element(waiting, {}, [](const auto& w) { return w.second; })->second;
    push_out([&](const Job& j) { return waiting.at(j.peer) == most; }, now_boot_ns);
  }
  jobs_.push_back(std::move(job));
}

void Guesses::push_out(const std::function<bool(const Job&)>& may_go, std::int64_t now) {
  std::erase_if(out_, [&](const auto& o) { return o.second != 0 && o.second + kOutNs < now; });  // they went away
  std::vector<std::list<Job>::iterator> all, insist;
  for (auto it = jobs_.begin(); it != jobs_.end(); ++it)
    if (may_go(*it)) (asked_of(it->digest).times > 1 ? insist : all).push_back(it);
  if (all.empty()) all.swap(insist);
  const auto one = all[std::uniform_int_distribution<std::size_t>(0, all.size() - 1)(random_)];
  const auto held = std::ranges::count_if(out_, [](const auto& o) { return o.second != 0; });
  if (out_.size() >= kRemembered) out_.erase(out_.begin());
  out_[one->digest] = static_cast<std::size_t>(held) < kMostOut ? now + kOutNs : 0;
  jobs_.erase(one);
}

bool Guesses::waits(const Digest& digest) const {
  return std::ranges::find(comparing_, digest) != comparing_.end() ||
         std::ranges::find(jobs_, digest, &Job::digest) != jobs_.end();
}

std::optional<Guesses::Job> Guesses::take() {
  if (jobs_.empty()) return std::nullopt;
  auto next = jobs_.begin();
  const auto turn = turn_++ % 4;
  if (turn != 3) {
    const auto count = [](const auto& all, const std::string& key) {
      const auto wrongs = all.find(key);
      return wrongs == all.end() ? 0.0 : wrongs->second.count;
    };
    // Of its peer first: a name that nobody tried yet is as good as none.
    const auto rank = [&](const Job& job) {
      const auto asked = asked_of(job.digest);
      const auto insists = turn == 1 && asked.times > 1 ? asked.times : 0;
      return std::tuple(insists, -count(by_peer_, job.peer), -count(by_share_, share(job)), asked.number);
    };
    auto best = rank(*next);
    for (auto it = jobs_.begin(); it != jobs_.end(); ++it) {
      auto its = rank(*it);
      if (its < best) continue;
      best = its;
      next = it;
    }
  }
  comparing_.push_back(next->digest);
  Job job = std::move(*next);
  jobs_.erase(next);
  return job;
}

void Guesses::decided(const Job& job, bool good, std::int64_t now, std::int64_t took_ns) {
  if (const auto it = std::ranges::find(comparing_, job.digest); it != comparing_.end()) comparing_.erase(it);
  asked_.erase(job.digest);
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
  const auto out = std::ranges::count_if(out_, [](const auto& o) { return o.second != 0; });
  const bool room = static_cast<std::size_t>(held + out) + jobs_.size() < kMostConnections;
  const auto delay_ns = std::min(kLongestNs, static_cast<std::int64_t>(peer.count * static_cast<double>(kStepNs)));
  const auto at = std::min(std::max(now + delay_ns, peer.next_answer_boot_ns), now + kLongestInTurnNs);
  if (room) peer.next_answer_boot_ns = at + std::max(kBetweenNs, 3 * took_ns);
  if (wrong_.size() >= kRemembered)
    wrong_.erase(std::ranges::min_element(wrong_, {}, [](const auto& w) { return w.second.number; }));
  wrong_[job.digest] = {room ? at : now, ++wrongs_};
}

Guesses::Known Guesses::known(const Digest& digest, std::int64_t& until_boot_ns) {
  if (good_.contains(digest)) return Known::good;
  if (const auto out = out_.find(digest); out != out_.end()) {
    until_boot_ns = out->second;
    if (until_boot_ns != 0) return Known::out;
    out_.erase(out);
    return Known::refused;
  }
  const auto wrong = wrong_.find(digest);
  if (wrong == wrong_.end()) return Known::no;
  until_boot_ns = wrong->second.until_boot_ns;
  return Known::wrong;
}

}  // namespace vitald
