// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <new>
#include <set>
#include <string>
#include <utility>

#include "core/clock.h"
#include "core/instruments.h"
#include "core/log.h"
#include "core/os/host_name.h"
#include "core/os/machine_id.h"
#include "exporters/deliver/alert_message.h"
#include "exporters/deliver/claimant.h"
#include "exporters/deliver/journal.h"
#include "exporters/deliver/parts.h"
#include "rules/history/store.h"
#include "rules/saved_alerts.h"

namespace vitald {

namespace {

constexpr std::int64_t kDiskPatience = 1'000'000'000;
constexpr std::int64_t kKeepLeftBehindMs = std::int64_t{7} * 24 * 3'600'000;

// What a receiver has to end that the one before began, unless another one has it now.
std::string farewell_of(const ReceiverSettings& now, const std::string& owned_before,
                        const std::set<std::string>& owned) {
  const auto* claimant = dynamic_cast<const Claimant*>(&now);
  return claimant && !owned_before.empty() && !owned.contains(owned_before) ? claimant->farewell(owned_before)
                                                                            : std::string();
}

// Which receivers owned what, in the state folder: a restart may turn it off, too. By name, of those that own
// something.
constexpr std::size_t kMostClaimBytes = 1 << 20;
using Claims = std::map<std::string, std::string>;

Claims load_claims(const StateDir& state) {
  Claims out;
  const auto text = state.read(Keeper::kClaimsFile, kMostClaimBytes);
  if (!text) {
    log::warn("what receivers have to end from an earlier run is not known", {{"err", text.error().text}});
    return out;
  }
  if (!*text) return out;
  if (const auto parts = parts_of(**text); parts && parts->size() % 2 == 0)
    for (std::size_t i = 0; i < parts->size(); i += 2) out[std::string((*parts)[i])] = (*parts)[i + 1];
  return out;
}

std::string text_of(const Claims& claims) {
  std::string text;
  for (const auto& [name, owned] : claims) {
    append_part(text, name);
    append_part(text, owned);
  }
  return text;
}

// Each once, however many rules make it: as the rule has it that fired first.
std::vector<Alert> firing_of(const RulesView& view) {
  std::vector<Alert> out;
  std::map<std::uint64_t, std::size_t> at;
  for (const auto& g : view.groups)
    for (const auto& r : g.rules)
      for (const auto& a : r.alerts) {
        if (a.state != AlertState::firing) continue;
        const auto [known, fresh] = at.try_emplace(a.fingerprint, out.size());
        if (fresh) out.push_back(a);
        else if (auto& one = out[known->second]; a.fired_at_ms < one.fired_at_ms) one = a;
      }
  return out;
}

}  // namespace

struct Judge::Instruments {
  prometheus::Counter& rounds =
      instruments().counter("vitald_rules_rounds_total",
                            "Rounds of the rules: a snapshot goes into history, groups that are due are judged.");
  prometheus::Counter& seconds =
      instruments().counter("vitald_rules_round_seconds_total", "How long the rounds of the rules took, all together.");
  prometheus::Counter& failures = instruments().counter(
      "vitald_rules_round_failures_total", "Rounds of the rules that an exception ended: a bug, the log has its text.");
  prometheus::Gauge& series = instruments().gauge("vitald_history_series",
                                                  "Series that the history has samples of, those that ended included.");
  prometheus::Gauge& samples = instruments().gauge("vitald_history_samples", "Samples in the history.");
  prometheus::Gauge& sample_bytes =
      instruments().gauge("vitald_history_sample_bytes", "Memory for the history's samples and their times.");
  prometheus::Gauge& label_bytes =
      instruments().gauge("vitald_history_label_bytes", "Memory for the label sets of the history's series.");
  prometheus::Gauge& oldest =
      instruments().gauge("vitald_history_oldest_sample_age_seconds", "Age of the oldest sample in the history.");
  prometheus::Counter& evicted = instruments().counter(
      "vitald_history_evicted_samples_total", "Samples that went before their time: history.memory was reached.");
};

Judge::Judge() = default;
Judge::~Judge() { end(); }

void Judge::end() {
  for (const auto& r : receivers_) r->stop();  // then all end at the same time
  receivers_.clear();
}

void Judge::configure(std::unique_ptr<RuleEngine> rules, std::vector<ReceiverPtr> receivers,
                      std::shared_ptr<const StateDir> state, std::shared_ptr<Keeper> keeper,
                      std::shared_ptr<Silences> silences) {
  if (rules_ && rules) rules->adopt(*rules_);
  keeper_ = std::move(keeper);
  silences_ = std::move(silences);
  if (keeper_ && rules && !rules->empty()) {
    if (!std::exchange(restored_, true)) {
      auto restored = keeper_->restore(*rules);
      withheld_ = std::move(restored.withheld);
      // Also of those that ended with the run before, or while nobody ran: they are told as who they began.
      begins_ = std::move(restored.begins);
      for (const auto& a : firing_of(*rules->view()))
        begins_.try_emplace(a.fingerprint, AlertBegin{a.active_at_ms, a.fired_at_ms});
      begins_have_old_ = true;
    }
    keeper_->keep(rules->history());
  }
  // One that stays the same keeps its queue and what it is at: no transition is told twice.
  auto old = std::move(receivers_);
  for (const auto& r : old)
    if (std::ranges::none_of(receivers, [&](const auto& now) { return now->same(r->settings()); }))
      r->stop();  // then all end at the same time
  receivers_.clear();
  matchers_.clear();
  std::set<std::string> owned;
  Claims claims;
  for (const auto& settings : receivers)
    if (const auto* claimant = dynamic_cast<const Claimant*>(settings.get())) {
      auto what = claimant->owns();
      owned.insert(what);
      if (!what.empty()) claims[settings->name] = std::move(what);
    }
  if (state && !std::exchange(claims_loaded_, true)) claims_ = load_claims(*state);
  // Whoever has to end something is told so in each run: that he did nobody knows here.
  for (const auto& settings : receivers)
    if (const auto at = claims_.find(settings->name);
        at != claims_.end() && !farewell_of(*settings, at->second, owned).empty())
      claims.insert(*at);
  for (auto& settings : receivers) {
    for (const auto& text : settings->matchers)
      if (auto more = parse_alert_matchers(text))
        std::ranges::move(*more, std::back_inserter(matchers_[settings->name]));
    const auto same =
        std::ranges::find_if(old, [&](const auto& r) { return r && r->settings().name == settings->name; });
    auto before = same == old.end() ? nullptr : std::move(*same);
    if (before && settings->same(before->settings())) receivers_.push_back(std::move(before));
    else {
      const auto at = claims_.find(settings->name);
      const auto farewell = at == claims_.end() ? std::string() : farewell_of(*settings, at->second, owned);
      receivers_.push_back(std::make_unique<Receiver>(std::move(settings), state, std::move(before)));
      if (!farewell.empty()) receivers_.back()->say("what is turned off", farewell);
    }
  }
  // After what is to be ended waits in its receiver's journal: a crash between the two says it twice.
  if (keeper_ && claims != claims_) keeper_->keep_claims(text_of(claims));
  claims_ = std::move(claims);
  if (state) look_for_left_behind(*state);
  rules_ = std::move(rules);
  if (!idle() && !instruments_) instruments_ = std::make_unique<Instruments>();
  short_history_said_ = false;
  begins_shown_.reset();
  show_begins();
  auto families = idle() ? nullptr : std::make_shared<const FamilyNames>(rules_->own_families());
  const MutexLock lock(mutex_);
  families_ = std::move(families);
  if (!rules_) view_.reset();
  history_ = rules_ ? rules_->history() : nullptr;
  if (idle()) batch_.reset();
}

void Judge::judge(const Snapshot& published, std::span<const std::string_view> news) {
  if (!rules_) return;
  if (!idle()) {
    const auto begin_ns = SystemClock::read(CLOCK_MONOTONIC);
    try {
      if (!news.empty()) rules_->announce(news);
      show(rules_->evaluate(published));
      watch_history();
      if (!last_failure_.empty()) log::info("the rules work again");
      last_failure_.clear();
    } catch (const std::bad_alloc&) {
      failed("out of memory");
    } catch (const std::exception& e) {
      failed(fmt::format("bug, please report: exception '{}'", e.what()));
    } catch (...) {
      failed("bug, please report: an exception of unknown type");
    }
    instruments_->rounds.Increment();
    instruments_->seconds.Increment(static_cast<double>(SystemClock::read(CLOCK_MONOTONIC) - begin_ns) / 1e9);
  }
  // Without any rule left too: what fired until the last reload is over.
  tell(rules_->take_transitions(), published);
}

// Of receivers that were taken out of the configuration: maybe by mistake, so what waits for them is kept for a while.
void Judge::look_for_left_behind(const StateDir& state) {
  std::vector<std::string> names;
  for (const auto& r : receivers_) names.push_back(r->settings().name);
  const auto now_ms = SystemClock::read(CLOCK_REALTIME) / 1'000'000;
  for (const auto& left : left_behind(state, names, now_ms, kKeepLeftBehindMs)) {
    if (left.items == 0 || (!left.removed && !left_behind_said_.insert(left.path).second)) continue;
    log::warn(left.removed ? "what waited for a receiver that is not configured any more was too old and is gone"
                           : "alerts wait for a receiver that is not configured any more; a week after the newest of "
                             "them they go",
              {{"folder", left.path}, {"items", fmt::format("{}", left.items)}});
  }
}

void Judge::show(BatchPtr batch) {
  auto view = rules_->view(begins_shown_);
  const MutexLock lock(mutex_);
  batch_ = std::move(batch);
  view_ = std::move(view);
}

void Judge::watch_history() {
  const auto size = rules_->history()->size();
  instruments_->series.Set(static_cast<double>(size.series));
  instruments_->samples.Set(static_cast<double>(size.samples));
  instruments_->sample_bytes.Set(static_cast<double>(size.sample_bytes));
  instruments_->label_bytes.Set(static_cast<double>(size.index_bytes));
  instruments_->oldest.Set(static_cast<double>(size.oldest_ms) / 1000);
  if (size.evicted < evicted_) evicted_ = 0;  // another history: the labels of all series were changed
  if (size.evicted == evicted_) return;
  instruments_->evicted.Increment(static_cast<double>(size.evicted - evicted_));
  evicted_ = size.evicted;
  if (std::exchange(short_history_said_, true)) return;
  log::warn("history.memory is reached: samples go before history.retention is over, the oldest first",
            {{"series", fmt::format("{}", size.series)},
             {"bytes", fmt::format("{}", size.sample_bytes + size.index_bytes)},
             {"oldest_seconds", fmt::format("{}", size.oldest_ms / 1000)}});
}

// A crash at any point of this loses nothing and tells nothing that is new: the next run finds the alerts as they were
// before or are now, and in the second case what to tell of it, with the same times.
void Judge::tell(std::vector<AlertTransition> every, const Snapshot& published) {
  auto transitions = as_one(every);
  if (std::exchange(begins_have_old_, false)) {
    std::set<std::uint64_t> fires;
    for (const auto& a : firing_of(*rules_->view())) fires.insert(a.fingerprint);
    std::erase_if(begins_, [&fires](const auto& begin) { return !fires.contains(begin.first); });
  }
  show_begins();
  gather_evidence(transitions, published);
  try {
    log_transitions(transitions);
  } catch (const std::bad_alloc&) {  // receivers hear of them all the same
    log::error("out of memory for the log lines of alerts");
  }
  const auto version = rules_->alerts_version();
  const auto to_save = [this](std::vector<AlertTransition> untold) {
    auto saved = rules_->alerts_to_save(std::move(untold));
    saved.withheld = withheld_;
    saved.begins = begins_;
    return saved;
  };
  auto withheld = withheld_;
  // What is told in the end depends on silences, which may be others after a crash: so all of it is kept.
  // Where there are no receivers callbacks may be told. Those that are one are made one again by the next run, which
  // must not take the first of them for one that others began before.
  if (keeper_ && !every.empty()) keeper_->keep(to_save(every), published, kDiskPatience);
  const auto audible = without_muted(transitions, published.wall_ns / 1'000'000);
  try {
    note_events(transitions, audible, published);
  } catch (const std::bad_alloc&) {
    log::error("out of memory for the events of alerts");
  }
  const bool changed = !every.empty() || version != alerts_kept_ || withheld != withheld_;
  // One that was muted and is not any more is told as if it fired now: that, too, survives a crash.
  if (keeper_ && every.empty() && !audible.empty()) keeper_->keep(to_save(audible), published, kDiskPatience);
  for (const auto& r : receivers_) try {
      const auto& all = r->settings().mutes ? audible : transitions;
      std::vector<AlertTransition> some;
      if (matchers_.contains(r->settings().name))
        std::ranges::copy_if(all, std::back_inserter(some),
                             [&](const auto& t) { return hears(r->settings(), t.alert); });
      const auto& news = matchers_.contains(r->settings().name) ? some : all;
      if (!news.empty()) r->notify(news);  // all at once: the journal goes to disk once
      if (r->wants_repetition(published.boot_ns)) r->repeat(told_now(r->settings()), published.boot_ns);
      r->measure();
    } catch (const std::exception& e) {  // no memory: the other receivers hear of it
      log::error("alerts could not be given to a receiver", {{"receiver", r->settings().name}, {"err", e.what()}});
    }
  if (!keeper_) return;
  if (changed) keeper_->keep(to_save({}), published, 0);
  else keeper_->still(published);
  alerts_kept_ = version;
}

// Several rules may make an alert of the same labels. To whoever is told it is one: it begins with the first of them
// and is over with the last, and in between there is nothing to tell. Its end is of the one that began, also where the
// next run tells it, which gets `every` from the disk.
std::vector<AlertTransition> Judge::as_one(std::vector<AlertTransition>& every) {
  if (every.empty()) return {};
  std::map<std::uint64_t, std::int64_t> fires;  // by fingerprint: of how many rules, before these transitions
  for (const auto& t : every) fires[t.alert.fingerprint] += t.firing ? -1 : 1;
  const auto view = rules_->view();
  for (const auto& g : view->groups)
    for (const auto& r : g.rules)
      for (const auto& a : r.alerts)
        if (const auto at = fires.find(a.fingerprint); at != fires.end() && a.state == AlertState::firing) ++at->second;
  std::vector<AlertTransition> out;
  for (auto& t : every) {
    auto& of = fires[t.alert.fingerprint];
    if (t.firing) {
      if (of++ > 0) continue;
      begins_[t.alert.fingerprint] = {t.alert.active_at_ms, t.alert.fired_at_ms};
    } else {
      as_begun(t.alert);
      if (--of > 0) continue;
      begins_.erase(t.alert.fingerprint);
    }
    out.push_back(t);
  }
  return out;
}

void Judge::show_begins() {
  if (!rules_ || (begins_shown_ && *begins_shown_ == begins_)) return;
  begins_shown_ = std::make_shared<const AlertBegins>(begins_);
  auto view = rules_->view(begins_shown_);
  const MutexLock lock(mutex_);
  view_ = std::move(view);
}

void Judge::as_begun(Alert& alert) const {
  const auto at = begins_.find(alert.fingerprint);
  if (at == begins_.end()) return;
  alert.active_at_ms = at->second.active_at_ms;
  alert.fired_at_ms = at->second.fired_at_ms;
}

// As a batch of its own: however many there are, each is an event. Those that are not told to receivers are marked; one
// that is told later, when its silence ends, is an event of its own then.
void Judge::note_events(const std::vector<AlertTransition>& transitions, const std::vector<AlertTransition>& audible,
                        const Snapshot& published) const {
  if (!events_ || (transitions.empty() && audible.empty())) return;
  const auto among = [](const std::vector<AlertTransition>& all, const AlertTransition& t) {
    return std::ranges::find(all, t.number, &AlertTransition::number) != all.end();
  };
  std::vector<const AlertTransition*> all;
  for (const auto& t : transitions) all.push_back(&t);
  for (const auto& t : audible)
    if (!among(transitions, t)) all.push_back(&t);
  static const auto kMachine = machine_uuid();
  auto batch = std::make_shared<Batch>();
  batch->collector = "alerts";
  batch->collected_boot_ns = SystemClock::read(CLOCK_BOOTTIME);  // a snapshot may be judged twice
  for (const auto* each : all) {
    const auto& t = *each;
    Event event;
    event.type = t.firing ? "alert_firing" : "alert_resolved";
    event.boot_ns = published.boot_ns;
    const auto add = [&event](std::string name, std::string value) {
      event.fields.emplace_back(std::move(name), std::move(value));
    };
    for (const auto* name : {"alertname", "severity"})
      if (const auto at = t.alert.labels.find(name); at != t.alert.labels.end()) add(name, at->second);
    event.text = fmt::format("{} {}", t.alert.labels.contains("alertname") ? t.alert.labels.at("alertname") : "alert",
                             t.firing ? "fires" : "is over");
    if (const auto at = t.alert.annotations.find("summary"); at != t.alert.annotations.end()) {
      add("summary", at->second);
      event.text += ": " + at->second;
    }
    add("fingerprint", fmt::format("{:016x}", t.alert.fingerprint));
    add("uuid", alert_uuid(t.alert, kMachine));
    for (const auto* name : {"evidence", "evidence_sha256"})
      if (const auto at = t.alert.annotations.find(name); at != t.alert.annotations.end()) add(name, at->second);
    add("transition", fmt::format("{}", t.number));
    add("value", fmt::format("{}", t.alert.value));
    std::string labels;
    for (const auto& [name, value] : t.alert.labels)
      labels += fmt::format("{}{}={}", labels.empty() ? "" : ",", name, value);
    add("labels", labels);
    if (!among(audible, t)) add("muted", "true");
    batch->events.push_back(std::make_shared<const Event>(std::move(event)));
  }
  Snapshot one;
  one.batches.push_back(std::move(batch));
  events_->append(one);
}

// Whoever is told hears where it is, also of the end, and when he is told again.
void Judge::gather_evidence(std::vector<AlertTransition>& transitions, const Snapshot& published) {
  if (!evidence_ || transitions.empty()) return;
  try {
    Evidence::Round round;
    for (const auto& t : transitions)
      if (t.firing) round.fires.push_back(t.alert);
    if (!round.fires.empty()) {
      round.muted = muted_of(round.fires, published.wall_ns / 1'000'000);
      round.rules = rules_->view();
      if (const auto history = rules_->history()) round.history = history->view();
      round.published = published;
      evidence_->gather(std::move(round));
    }
    for (auto& t : transitions) {
      evidence_->refer(t.alert);
      if (!t.firing) evidence_->forget(t.alert.fingerprint);
    }
  } catch (const std::bad_alloc&) {
    log::error("out of memory for evidence of alerts");
  }
}

std::set<std::uint64_t> Judge::muted_of(const std::vector<Alert>& alerts, std::int64_t now_ms) const {
  std::set<std::uint64_t> out;
  if (!silences_ || silences_->idle()) return out;
  const auto fires = firing_now();
  std::vector<const Alert*> firing;
  for (const auto& a : fires) firing.push_back(&a);
  const auto mutes = silences_->mutes(rules_->external_labels(), firing, now_ms);
  for (const auto& a : alerts)
    if (mutes.of(a.labels).muted()) out.insert(a.fingerprint);
  return out;
}

std::vector<Alert> Judge::firing_now() const {
  auto out = firing_of(*rules_->view());
  for (auto& a : out) {
    as_begun(a);
    if (evidence_) evidence_->refer(a);
  }
  return out;
}

// Of what fires, what such a receiver was told of or will be.
std::vector<Alert> Judge::told_now(const ReceiverSettings& receiver) const {
  auto out = firing_now();
  if (receiver.mutes) std::erase_if(out, [this](const Alert& a) { return withheld_.contains(a.fingerprint); });
  std::erase_if(out, [&](const Alert& a) { return !hears(receiver, a); });
  return out;
}

bool Judge::hears(const ReceiverSettings& receiver, const Alert& alert) const {
  const auto matchers = matchers_.find(receiver.name);
  // With the labels that it is sent.
  return matchers == matchers_.end() || fits(matchers->second, labels_of({alert, true}, receiver));
}

// The transitions that are told to receivers that a silence or an inhibition applies to, and of alerts that fire on and
// are not muted any more, that they fire. Of an alert that nobody was told of the end is not told either; of one that
// was told of it is, whatever is muted meanwhile: somebody may have a ticket open.
std::vector<AlertTransition> Judge::without_muted(const std::vector<AlertTransition>& transitions,
                                                  std::int64_t now_ms) {
  if (!silences_ || (withheld_.empty() && (transitions.empty() || silences_->idle()))) return transitions;
  const auto fires = firing_now();
  std::vector<const Alert*> firing;
  for (const auto& a : fires) firing.push_back(&a);
  const auto mutes = silences_->mutes(rules_->external_labels(), firing, now_ms);
  std::vector<AlertTransition> out;
  for (const auto& t : transitions) {
    const auto fingerprint = t.alert.fingerprint;
    if (!t.firing) {
      if (withheld_.erase(fingerprint) == 0) out.push_back(t);
    } else if (mutes.of(t.alert.labels).muted()) {
      withheld_.insert(fingerprint);
    } else {
      withheld_.erase(fingerprint);
      out.push_back(t);
    }
  }
  std::set<std::uint64_t> still;
  for (const auto* a : firing) {
    if (!withheld_.contains(a->fingerprint)) continue;
    if (mutes.of(a->labels).muted()) still.insert(a->fingerprint);
    else out.push_back(rules_->numbered({*a, true}));
  }
  withheld_ = std::move(still);
  return out;
}

void Judge::log_transitions(const std::vector<AlertTransition>& transitions) {
  const auto of = [](const LabelMap& map, const std::string& name) {
    const auto at = map.find(name);
    return at == map.end() ? std::string_view() : std::string_view(at->second);
  };
  const auto host = transitions.empty() ? std::string() : host_name();
  for (const auto& t : transitions) {
    std::string labels;  // all but the two that have fields of their own
    for (const auto& [name, value] : t.alert.labels)
      if (name != "alertname" && name != "severity")
        labels += fmt::format("{}{}={}", labels.empty() ? "" : ",", name, value);
    log::info(t.firing ? "alert fires" : "alert resolved",
              {{"alertname", of(t.alert.labels, "alertname")},
               {"severity", of(t.alert.labels, "severity")},
               {"host", host},
               {"labels", log::one_line(labels)},
               {"value", fmt::format("{}", t.alert.value)},
               {"summary", log::one_line(of(t.alert.annotations, "summary"))}});
  }
}

// The results of the round before stay for one more, as a collector's do; older ones would pass for news.
void Judge::failed(std::string what) {
  instruments_->failures.Increment();
  if (!last_failure_.empty()) {
    const MutexLock lock(mutex_);
    batch_.reset();
  }
  if (what != last_failure_) log::error("this round of the rules is lost", {{"err", what}});
  last_failure_ = std::move(what);
}

void Judge::add_results(Snapshot& snapshot) const {
  auto batch = [this] {
    const MutexLock lock(mutex_);
    return batch_;
  }();
  if (!batch) return;
  const auto at = std::ranges::upper_bound(snapshot.batches, batch->collector, {},
                                           [](const auto& b) -> const std::string& { return b->collector; });
  snapshot.batches.insert(at, std::move(batch));
}

std::shared_ptr<const History> Judge::history() const {
  const MutexLock lock(mutex_);
  return history_;
}

std::shared_ptr<const FamilyNames> Judge::families() const {
  const MutexLock lock(mutex_);
  return families_;
}

std::shared_ptr<const RulesView> Judge::view() const {
  const MutexLock lock(mutex_);
  return view_;
}

}  // namespace vitald
