// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "core/clock.h"
#include "core/instruments.h"
#include "core/log.h"

namespace vitald {

struct Judge::Instruments {
  prometheus::Counter& rounds =
      instruments().counter("vitald_rules_rounds_total",
                            "Rounds of the rules: a snapshot goes into history, groups that are due are judged.");
  prometheus::Counter& seconds =
      instruments().counter("vitald_rules_round_seconds_total", "How long the rounds of the rules took, all together.");
  prometheus::Counter& failures = instruments().counter(
      "vitald_rules_round_failures_total", "Rounds of the rules that an exception ended: a bug, the log has its text.");
};

Judge::Judge() = default;
Judge::~Judge() = default;

void Judge::configure(std::unique_ptr<RuleEngine> rules, std::vector<CommandHookSettings> hooks) {
  if (rules_ && rules) rules->adopt(*rules_);
  // One that stays the same keeps its queue and the command that runs: no transition is told twice.
  auto old_hooks = std::move(hooks_);
  hooks_.clear();
  for (auto& hook : hooks) {
    const auto same = std::ranges::find_if(old_hooks, [&](const auto& h) { return h && h->settings() == hook; });
    if (same != old_hooks.end()) hooks_.push_back(std::move(*same));
    else hooks_.push_back(std::make_unique<CommandHook>(std::move(hook)));
  }
  rules_ = std::move(rules);
  if (!idle() && !instruments_) instruments_ = std::make_unique<Instruments>();
  auto view = rules_ ? rules_->view() : nullptr;
  const std::lock_guard lock(mutex_);
  view_ = std::move(view);
  if (idle()) batch_.reset();
}

void Judge::judge(const Snapshot& published) {
  if (!rules_) return;
  if (!idle()) {
    const auto begin_ns = SystemClock::read(CLOCK_MONOTONIC);
    try {
      show(rules_->evaluate(published));
      if (!last_failure_.empty()) log::info("the rules work again");
      last_failure_.clear();
    } catch (const std::exception& e) {
      failed("evaluating rules", e.what());
    } catch (...) {
      failed("evaluating rules", "of unknown type");
    }
    instruments_->rounds.Increment();
    instruments_->seconds.Increment(static_cast<double>(SystemClock::read(CLOCK_MONOTONIC) - begin_ns) / 1e9);
  }
  // Without any rule left too: what fired until the last reload is over.
  for (const auto& transition : rules_->take_transitions()) tell(transition);
}

void Judge::show(BatchPtr batch) {
  auto view = rules_->view();
  const std::lock_guard lock(mutex_);
  batch_ = std::move(batch);
  view_ = std::move(view);
}

void Judge::tell(const AlertTransition& transition) {
  const auto name = transition.alert.labels.find("alertname");
  log::info(transition.firing ? "alert fires" : "alert resolved",
            {{"alertname", name == transition.alert.labels.end() ? "" : name->second},
             {"value", fmt::format("{}", transition.alert.value)}});
  for (const auto& hook : hooks_) hook->notify(transition);
}

// The results of the round before stay for one more, as a collector's do; older ones would pass for news.
void Judge::failed(std::string_view at, std::string_view what) {
  instruments_->failures.Increment();
  if (!last_failure_.empty()) {
    const std::lock_guard lock(mutex_);
    batch_.reset();
  }
  auto text = fmt::format("{}: exception '{}'", at, what);
  if (text != last_failure_) log::error("bug, please report: this round of the rules is lost", {{"err", text}});
  last_failure_ = std::move(text);
}

void Judge::add_results(Snapshot& snapshot) const {
  auto batch = [this] {
    const std::lock_guard lock(mutex_);
    return batch_;
  }();
  if (!batch) return;
  const auto at = std::ranges::upper_bound(snapshot.batches, batch->collector, {},
                                           [](const auto& b) -> const std::string& { return b->collector; });
  snapshot.batches.insert(at, std::move(batch));
}

std::shared_ptr<const RulesView> Judge::view() const {
  const std::lock_guard lock(mutex_);
  return view_;
}

}  // namespace vitald
