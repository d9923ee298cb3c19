// SPDX-License-Identifier: Apache-2.0
#include "rules/history/store.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "core/check.h"
#include "core/text/exported_names.h"
#include "rules/history/coarse.h"

namespace vitald {

using history::is_none;
using history::none_marker;
using promql::Labels;
using promql::stale_marker;

namespace {

constexpr std::string_view kRulesBatch = "rules";  // the rules' own output, which comes through record()
constexpr std::uint32_t kRecorded = 0;             // its feed
constexpr std::size_t kSpareSlots = 16;            // of a row that is still written to
constexpr std::uint64_t kSweepRounds = 32;
// In place of when a series ended: it lives; it is of an earlier run, and this one has not seen it yet.
constexpr std::int64_t kAlive = INT64_MAX, kReturning = kAlive - 1;
bool has_not_ended(std::int64_t ended_ms) { return ended_ms >= kReturning; }
constexpr std::int64_t kReturnMs = 60'000;  // for collectors after a restart
constexpr std::int64_t kSlewMs = 20;        // of the wall clock against boot time, that nobody need see
// How many series that are gone are passed over before a series is looked for by its labels.
constexpr std::size_t kLookAhead = 8;

std::size_t bytes_of(const history::Row& row) { return row.count * sizeof(double); }

}  // namespace

History::History(Settings settings) : settings_(std::move(settings)) { add_feed({std::string(kRulesBatch)}); }
History::~History() = default;

void History::set(Settings settings) {
  check(settings.series_labels == settings_.series_labels, "a history is called otherwise from here on");
  const bool same = settings.keep == settings_.keep;
  // Not series_labels: readers on other threads look at them.
  settings_.retention_ms = settings.retention_ms;
  settings_.limit_bytes = settings.limit_bytes;
  settings_.keep = std::move(settings.keep);
  if (same) return;
  for (std::uint32_t id = 0; id < chosen_.size(); ++id) choose(id);
}

void History::choose(std::uint32_t id) {
  chosen_[id] = 0;
  const auto& s = index_.at(id);
  if (!s.labels) return;
  for (std::size_t i = 0; i < settings_.keep.size() && chosen_[id] == 0; ++i)
    if (std::ranges::all_of(settings_.keep[i].match,
                            [&](const promql::Matcher& m) { return m.matches(s.labels->get(m.name)); }))
      chosen_[id] = static_cast<std::uint16_t>(i + 1);
}

History::Feed& History::add_feed(history::FeedName name) {
  auto& f = *feeds_.emplace_back(std::make_unique<Feed>());
  f.name = std::move(name);
  f.head = std::make_shared<history::Head>();
  f.ids = std::make_shared<history::Ids>();
  f.now = {std::make_shared<const history::Chunks>(), f.head, 0, f.ids};
  names_.reset();
  return f;
}

Labels History::labels_of(const Layout& layout, const Sample& s) const {
  std::vector<std::pair<std::string, std::string>> pairs;
  pairs.emplace_back(promql::kMetricName, layout.name(s));
  for (const auto& l : layout.labels(s)) pairs.emplace_back(l.name, l.value);
  // A server keeps its own job and instance and renames what the target says.
  rename_beside(settings_.series_labels, pairs);
  pairs.insert(pairs.end(), settings_.series_labels.begin(), settings_.series_labels.end());
  return Labels(std::move(pairs));
}

// ---- a round

void History::begin(const Snapshot& snapshot) {
  now_ms_ = snapshot.boot_ns / 1'000'000;
  // Held while the clock is only slewed or cut to milliseconds otherwise: a sample that was read has the same time
  // again.
  const auto offset_ms = (snapshot.wall_ns - snapshot.boot_ns) / 1'000'000;
  if (rounds_ == 0 || std::abs(offset_ms - offset_ms_) > kSlewMs) offset_ms_ = offset_ms;
  if (++rounds_ % kSweepRounds == 0)
    for (std::uint32_t number = 0; number < feeds_.size(); ++number) expire(number);
  match_feeds(snapshot);
  if (now_ms_ - restored_ms_ >= kReturnMs) end_what_did_not_come();
  std::size_t next = 0;
  for (const auto& batch : snapshot.batches)
    if (batch->collector != kRulesBatch) take(order_[next++], *batch);
  if (std::exchange(some_ended_, false))
    for (const auto& feed : feeds_) feed->look_again = feed->wants_others;
  auto& own = *feeds_[kRecorded];
  open_ = own.rows == 0 || now_ms_ > own.last_ms;
  if (!open_) return;
  auto& row = add_row(kRecorded, now_ms_, own.ids->empty() ? 0 : kSpareSlots);
  std::fill_n(row.values.get(), row.count, none_marker());
}

void History::end() {
  if (users_forgotten_) {
    users_forgotten_ = false;
    for (std::uint32_t id = 0; id < places_.size(); ++id)
      if (index_.at(id).labels && is_recorded(id) && has_not_ended(ended_[id]) && users_[id] == 0) ends_recorded(id);
  }
  enforce_limit();
  auto round = std::make_shared<history::Round>();
  round->now_ms = now_ms_;
  round->offset_ms = offset_ms_;
  round->table = index_.publish();
  if (!names_) {
    auto names = std::make_shared<std::vector<history::FeedName>>();
    for (const auto& feed : feeds_) names->push_back(feed->name);
    names_ = std::move(names);
  }
  round->names = names_;
  round->feeds.reserve(feeds_.size());
  for (const auto& feed : feeds_) {
    round->feeds.push_back(feed->now);
    feed->ids_shared = true;
  }
  open_ = false;
  std::shared_ptr<const history::Round> shown = std::move(round);
  const MutexLock lock(mutex_);
  round_.swap(shown);  // `shown` is the one before: let go after the lock
}

// Which feed each batch of the snapshot belongs to; mostly the same as in the last one.
void History::match_feeds(const Snapshot& snapshot) {
  std::size_t next = 0;
  bool same = true;
  for (const auto& batch : snapshot.batches) {
    if (batch->collector == kRulesBatch) continue;
    same = same && next < order_.size() && feeds_[order_[next]]->name.collector == batch->collector;
    ++next;
  }
  if (same && next == order_.size()) return;
  const auto old = std::exchange(order_, {});
  for (const auto& batch : snapshot.batches) {
    if (batch->collector == kRulesBatch) continue;
    const auto is_its = [&](std::uint32_t n) { return feeds_[n]->name.collector == batch->collector; };
    const auto ordinal = static_cast<std::size_t>(std::ranges::count_if(order_, is_its));
    std::uint32_t number = 1;
    while (number < feeds_.size() && !(is_its(number) && feeds_[number]->name.ordinal == ordinal)) ++number;
    if (number == feeds_.size()) {
      auto& f = add_feed({batch->collector, ordinal});
      f.seal_at = kBlock - number * 13 % (kBlock / 2);  // not all in one round
    }
    order_.push_back(number);
  }
  for (const auto number : old)
    if (std::ranges::find(order_, number) == order_.end()) lose(number);
}

void History::take(std::uint32_t number, const Batch& batch) {
  auto& f = *feeds_[number];
  const auto t = std::min(batch.collected_boot_ns / 1'000'000, now_ms_);
  const bool seen = f.layout && f.collected_ns == batch.collected_boot_ns;
  if (seen || (f.rows > 0 && t <= f.last_ms)) {
    // No new samples. But what a worker or a collector that hangs said last is not shown for ever: then an empty batch
    // of that time takes its place.
    if (f.layout == batch.layout) return;
    if (!f.layout && batch.layout->value_count() == 0) return;  // a worker that is only being started
    resolve(number, batch);
    write_end_row(number);
    return;
  }
  if (f.layout != batch.layout || f.look_again) resolve(number, batch);
  f.collected_ns = batch.collected_boot_ns;
  auto& row = add_row(number, t);
  const auto count = f.slot_of.size();
  if (f.straight) {
    std::copy_n(batch.values.begin(), count, row.values.get());
    std::fill(row.values.get() + count, row.values.get() + row.count, none_marker());
  } else {
    std::fill_n(row.values.get(), row.count, none_marker());
    for (std::size_t i = 0; i < count; ++i)
      if (f.slot_of[i] != kNobody) row.values[f.slot_of[i]] = batch.values[i];
  }
  count_samples(f, f.mapped);
  write_ends(f, row);
}

// The collector is off, or its worker has had nothing to say for too long.
void History::lose(std::uint32_t number) {
  auto& f = *feeds_[number];
  for (const auto id : *f.ids)
    if (id != kNobody && has_not_ended(ended_[id])) ends(id);
  f.layout.reset();
  f.slot_of.clear();
  f.mapped = 0;
  write_end_row(number);
}

// A row of its own for series that end now.
void History::write_end_row(std::uint32_t number) {
  auto& f = *feeds_[number];
  if (f.ended.empty()) return;
  auto& row = add_row(number, std::max(now_ms_, f.last_ms + 1));
  std::fill_n(row.values.get(), row.count, none_marker());
  write_ends(f, row);
}

void History::write_ends(Feed& f, history::Row& row) {
  for (const auto id : f.ended) {
    row.values[places_[id].slot] = stale_marker();
    f.free_later.push_back(places_[id].slot);
  }
  count_samples(f, f.ended.size());
  f.ended.clear();
}

void History::count_samples(Feed& f, std::size_t n) {
  f.head_samples += n;
  samples_ += n;
}

// `spare`: slots that series may still get while the row is written.
history::Row& History::add_row(std::uint32_t number, std::int64_t t_ms, std::size_t spare) {
  auto& f = *feeds_[number];
  if (f.now.size == f.seal_at) seal(number);
  auto& row = f.head->rows[f.now.size++];
  row.t_ms = f.last_ms = t_ms;
  row.count = static_cast<std::uint32_t>(f.ids->size() + spare);
  row.values = std::make_unique_for_overwrite<double[]>(row.count);
  ++f.rows;
  bytes_ += bytes_of(row);
  return row;
}

// ---- series

// What a changed layout says anew. Series that go on are recognized by their text, in the order they come in; only the
// others are looked for by their labels: an owner that comes or goes costs no more than its own series.
void History::resolve(std::uint32_t number, const Batch& batch) {
  auto& f = *feeds_[number];
  const auto before = std::exchange(f.layout, batch.layout);
  const auto old_slots = std::exchange(f.slot_of, history::Ids(batch.layout->value_count(), kNobody));
  const auto old = before ? before->samples() : std::span<const Sample>();
  std::vector<bool> stays(f.ids->size());
  history::Ids old_at;  // by slot: its place in `old`; made when the order is lost
  std::size_t next = 0;
  f.straight = true;
  f.mapped = 0;
  f.wants_others = f.look_again = false;
  for (const auto& s : batch.layout->samples()) {
    if (s.family->shown == Shown::inside) {
      f.straight = false;
      continue;
    }
    auto slot = kNobody;
    for (auto i = next; i < std::min(next + kLookAhead, old.size()); ++i) {
      if (before->prefix(old[i]) != batch.layout->prefix(s)) continue;
      slot = old_slots[old[i].value];
      next = i + 1;
      break;
    }
    if (slot == kNobody) {
      slot = slot_for(number, labels_of(*batch.layout, s));
      if (slot < stays.size()) {
        if (old_at.empty()) {
          old_at.assign(stays.size(), kNobody);
          for (std::uint32_t i = 0; i < old.size(); ++i)
            if (const auto at = old_slots[old[i].value]; at != kNobody) old_at[at] = i;
        }
        if (old_at[slot] != kNobody) next = old_at[slot] + 1;
      }
    }
    f.slot_of[s.value] = slot;
    f.straight = f.straight && slot == s.value;
    if (slot == kNobody) {
      f.wants_others = true;
      continue;
    }
    ++f.mapped;
    if (slot < stays.size()) stays[slot] = true;
  }
  f.straight = f.straight && f.mapped == f.slot_of.size();
  for (const auto slot : old_slots)
    if (slot != kNobody && !stays[slot]) ends((*f.ids)[slot]);
  if (before) return;
  // After a restart: what the run before had and this one has not.
  for (std::size_t slot = 0; slot < stays.size(); ++slot)
    if (const auto id = (*f.ids)[slot]; id != kNobody && !stays[slot] && ended_[id] == kReturning) ends(id);
}

// kNobody: another feed has a living series of these labels.
std::uint32_t History::slot_for(std::uint32_t number, Labels labels) {
  ++looked_up_;
  auto& f = *feeds_[number];
  if (const auto id = index_.find(labels); id != kNobody) {
    if (places_[id].feed == number) {
      if (ended_[id] == kReturning) ended_[id] = kAlive;
      if (ended_[id] != kAlive) revive(number, id);
      return places_[id].slot;
    }
    if (ended_[id] == kAlive) return kNobody;
    // It moved between collectors. Its samples there are not reached any more: rare, and two series of one label set
    // in one selection would be an error of the query.
    auto& other = *feeds_[places_[id].feed];
    std::erase(other.dead, id);
    std::erase(other.ended, id);
    if (const auto slot = places_[id].slot; slot != kNobody) {
      own_ids(other)[slot] = kNobody;
      if (std::ranges::find(other.free_later, slot) == other.free_later.end()) other.free_later.push_back(slot);
    }
    forget(id);
  }
  const auto slot = new_slot(f);
  const auto id = index_.add(std::move(labels), number, slot);
  own_ids(f)[slot] = id;
  if (id >= places_.size()) {
    places_.resize(id + 1);
    ended_.resize(id + 1);
    keep_.resize(id + 1);
    users_.resize(id + 1);
    chosen_.resize(id + 1);
  }
  places_[id] = {number, slot};
  ended_[id] = kAlive;
  keep_[id] = 0;
  users_[id] = 0;
  choose(id);
  changes_.added.push_back(id);
  return slot;
}

std::uint32_t History::new_slot(Feed& f) {
  if (!f.free_slots.empty()) {
    const auto slot = f.free_slots.back();
    f.free_slots.pop_back();
    return slot;
  }
  own_ids(f).push_back(kNobody);
  return static_cast<std::uint32_t>(f.ids->size() - 1);
}

history::Ids& History::own_ids(Feed& f) {
  if (f.ids_shared) {
    f.ids = std::make_shared<history::Ids>(*f.ids);
    f.now.ids = f.ids;
    f.ids_shared = false;
  }
  return *f.ids;
}

void History::revive(std::uint32_t number, std::uint32_t id) {
  auto& f = *feeds_[number];
  ended_[id] = kAlive;
  std::erase(f.dead, id);
  std::erase(f.ended, id);
  changes_.added.push_back(id);
  if (auto& slot = places_[id].slot; slot != kNobody) {
    std::erase(f.free_later, slot);
  } else {
    slot = new_slot(f);
    own_ids(f)[slot] = id;
    index_.move(id, slot);
  }
}

void History::ends(std::uint32_t id) {
  auto& f = *feeds_[places_[id].feed];
  ended_[id] = now_ms_;
  some_ended_ = true;
  f.ended.push_back(id);
  f.dead.push_back(id);
}

void History::forget(std::uint32_t id) {
  index_.remove(id);
  changes_.removed.push_back(id);
}

// ---- after a restart

bool History::restore(history::Saved saved) {
  check(index_.size() == 0 && rounds_ == 0, "a history is restored before it begins");
  const auto is_named = [&](const auto& f, std::string_view collector, std::size_t ordinal) {
    return f.collector == collector && f.ordinal == ordinal;
  };
  if (saved.series_labels != settings_.series_labels || saved.feeds.empty() ||
      !is_named(saved.feeds[kRecorded], kRulesBatch, 0))
    return false;
  for (std::size_t i = 0; i < saved.feeds.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (is_named(saved.feeds[j], saved.feeds[i].collector, saved.feeds[i].ordinal)) return false;
  std::unordered_set<promql::Labels, Labels::Hash> all;
  for (const auto& s : saved.series)
    if (s.labels.empty() || !all.insert(s.labels).second) return false;
  all.clear();

  for (auto& s : saved.series) index_.add(std::move(s.labels), s.feed, s.slot);
  const auto count = saved.series.size();
  places_.resize(count);
  ended_.assign(count, INT64_MIN);
  keep_.resize(count);
  users_.resize(count);
  chosen_.resize(count);
  for (std::uint32_t id = 0; id < count; ++id) choose(id);
  for (std::uint32_t number = 0; number < saved.feeds.size(); ++number) {
    auto& from = saved.feeds[number];
    auto& f = number == kRecorded ? *feeds_[kRecorded] : add_feed({std::move(from.collector), from.ordinal});
    f.seal_at = kBlock - number * 13 % (kBlock / 2);
    *f.ids = std::move(from.ids);
    for (const auto& chunk : from.chunks) {
      bytes_ += chunk->bytes();
      samples_ += chunk->samples();
      f.rows += chunk->count();
      f.last_ms = chunk->last_ms();
      const auto& ids = *chunk->ids();
      for (std::uint32_t slot = 0; slot < ids.size(); ++slot)
        if (chunk->has(slot)) ended_[ids[slot]] = chunk->last_ms();
    }
    f.now.chunks = std::make_shared<const history::Chunks>(std::move(from.chunks));
    for (std::uint32_t slot = 0; slot < f.ids->size(); ++slot)
      if ((*f.ids)[slot] == kNobody) f.free_slots.push_back(slot);
  }
  for (std::uint32_t id = 0; id < count; ++id) {
    const auto& s = index_.at(id);
    places_[id] = {s.feed, s.slot};
    if (s.slot != kNobody) ended_[id] = kReturning;
    else feeds_[s.feed]->dead.push_back(id);
  }
  evicted_ += saved.too_many;
  evicted_until_ms_ = saved.too_many_until_ms;
  restored_ms_ = saved.now_ms;
  forget_users();
  return true;
}

// Of collectors that are off now, or whose worker does not answer.
void History::end_what_did_not_come() {
  restored_ms_ = INT64_MAX;
  for (std::uint32_t number = kRecorded + 1; number < feeds_.size(); ++number)
    if (!feeds_[number]->layout) lose(number);
}

// ---- what the rules record

std::uint32_t History::acquire(const Labels& labels) {
  const auto slot = slot_for(kRecorded, labels);
  if (slot == kNobody) return kNobody;
  auto& f = *feeds_[kRecorded];
  const auto id = (*f.ids)[slot];
  ++users_[id];
  if (!open_) return id;
  auto& row = f.head->rows[f.now.size - 1];
  if (slot < row.count) return id;
  history::Row wider{row.t_ms, static_cast<std::uint32_t>(slot + kSpareSlots), nullptr};
  wider.values = std::make_unique_for_overwrite<double[]>(wider.count);
  for (std::size_t i = 0; i < wider.count; ++i) wider.values[i] = row.at(i);
  bytes_ += bytes_of(wider) - bytes_of(row);
  row = std::move(wider);
  return id;
}

void History::release(std::uint32_t id) {
  if (id != kNobody && users_[id] > 0 && --users_[id] == 0 && ended_[id] == kAlive) ends_recorded(id);
}

void History::ends_recorded(std::uint32_t id) {
  record(id, stale_marker());
  ended_[id] = now_ms_;
  auto& f = *feeds_[kRecorded];
  f.dead.push_back(id);
  f.free_later.push_back(places_[id].slot);
}

void History::record(std::uint32_t id, double value) {
  if (id == kNobody || !open_) return;
  auto& f = *feeds_[kRecorded];
  auto& place = f.head->rows[f.now.size - 1].values[places_[id].slot];
  if (is_none(place)) count_samples(f, 1);
  place = value;
}

void History::forget_users() {
  users_.assign(users_.size(), 0);
  users_forgotten_ = true;
}

void History::keep(std::uint32_t id, std::int64_t past_ms) { keep_[id] = std::max(keep_[id], past_ms); }

// ---- what becomes of old samples

void History::seal(std::uint32_t number) {
  auto& f = *feeds_[number];
  auto chunk = history::Chunk::seal(*f.head, f.now.size, f.now.ids);
  f.ids_shared = true;
  for (std::size_t i = 0; i < f.now.size; ++i) bytes_ -= bytes_of(f.head->rows[i]);
  samples_ -= std::exchange(f.head_samples, 0);
  if (chunk->series() > 0) {
    bytes_ += chunk->bytes();
    samples_ += chunk->samples();
    auto chunks = std::make_shared<history::Chunks>(*f.now.chunks);
    chunks->push_back(std::move(chunk));
    f.now.chunks = std::move(chunks);
  }
  f.head = std::make_shared<history::Head>();
  f.now.head = f.head;
  f.now.size = 0;
  f.seal_at = kBlock;
  for (const auto slot : std::exchange(f.free_later, {})) {
    auto& id = own_ids(f)[slot];
    if (id != kNobody) places_[id].slot = kNobody;
    id = kNobody;
    f.free_slots.push_back(slot);
  }
}

// Chunks past their time go; of those that somebody looks back at longer, his series stay, and of chosen ones every so
// often a sample.
void History::expire(std::uint32_t number) {
  auto& f = *feeds_[number];
  if (!f.layout && number != kRecorded && f.now.size > 0) seal(number);
  const auto& old = *f.now.chunks;
  history::Chunks kept;
  for (const auto& chunk : old) {
    const auto age = now_ms_ - chunk->last_ms();
    if (age <= settings_.retention_ms) {
      kept.push_back(chunk);
      continue;
    }
    std::map<std::int64_t, history::Ids> coarse;  // every -> ids that leave this chunk
    auto rest = history::Chunk::only(chunk, [&](std::uint32_t id) {
      if (keep_[id] >= age) return true;
      const auto* keep = chosen(id);
      if (!keep || keep->for_ms < age) return false;
      if (keep->every_ms == 0 || (chunk->thinned() && history::is_coarse(*chunk, keep->every_ms))) return true;
      coarse[keep->every_ms].push_back(id);
      return false;
    });
    for (const auto& [every_ms, ids] : coarse) move_coarse(kept, *chunk, ids, every_ms, age);
    if (rest == chunk) {
      kept.push_back(chunk);
      continue;
    }
    bytes_ -= chunk->bytes();
    samples_ -= chunk->samples();
    if (!rest) continue;
    bytes_ += rest->bytes();
    samples_ += rest->samples();
    kept.push_back(std::move(rest));
  }
  std::ranges::stable_sort(kept, {}, [](const auto& c) { return c->last_ms(); });
  if (kept != old) f.now.chunks = std::make_shared<const history::Chunks>(std::move(kept));
  forget_dead(f);
}

void History::move_coarse(history::Chunks& kept, const history::Chunk& from, const history::Ids& ids,
                          std::int64_t every_ms, std::int64_t age) {
  // The newest chunk that can take them: of such series only, and over before these samples begin.
  const auto fits = [&](const auto& c) {
    if (!c->thinned() || c->last_ms() >= from.first_ms()) return false;
    for (std::uint32_t slot = 0; slot < c->ids()->size(); ++slot) {
      if (!c->has(slot)) continue;
      const auto id = (*c->ids())[slot];
      const auto* keep = chosen(id);
      if (!keep || keep->every_ms != every_ms || keep_[id] >= age) return false;
    }
    return history::is_coarse(*c, every_ms);
  };
  const auto at = std::find_if(kept.rbegin(), kept.rend(), fits);
  std::shared_ptr<const history::Chunk> before;
  if (at != kept.rend()) {
    before = *at;
    kept.erase(std::next(at).base());
    bytes_ -= before->bytes();
    samples_ -= before->samples();
  }
  // A chunk goes as a whole: one of all the time would keep it twice as long.
  std::int64_t most_span_ms = INT64_MAX;
  for (const auto id : ids) most_span_ms = std::min(most_span_ms, chosen(id)->for_ms / 8);
  for (auto& chunk : history::coarser(before, from, ids, every_ms, most_span_ms)) {
    bytes_ += chunk->bytes();
    samples_ += chunk->samples();
    kept.push_back(std::move(chunk));
  }
}

// An id is free for another series when no chunk and no row knows it.
void History::forget_dead(Feed& f) {
  const auto& chunks = *f.now.chunks;
  const auto whole = std::ranges::find_if(chunks, [](const auto& c) { return !c->thinned(); });
  const auto begin_of = [&](auto chunk) {
    return chunk != chunks.end() ? (*chunk)->first_ms() : f.now.size > 0 ? f.head->rows[0].t_ms : now_ms_;
  };
  const auto any_ms = begin_of(chunks.begin()), whole_ms = begin_of(whole);
  std::erase_if(f.dead, [&](std::uint32_t id) {
    if (places_[id].slot != kNobody || ended_[id] >= (keep_[id] > 0 || chosen_[id] > 0 ? any_ms : whole_ms))
      return false;
    forget(id);
    return true;
  });
}

void History::enforce_limit() {
  while (size_bytes() > settings_.limit_bytes) {
    // The newest row stays: it is what there is now.
    Feed* oldest = nullptr;
    for (const auto& f : feeds_) {
      if (f->now.chunks->size() + f->now.size < 2) continue;
      const auto& chunks = *f->now.chunks;
      if (!chunks.empty() && (!oldest || chunks.front()->last_ms() < oldest->now.chunks->front()->last_ms()))
        oldest = f.get();
    }
    if (oldest) {
      evict(*oldest);
      continue;
    }
    bool sealed = false;
    for (std::uint32_t number = 0; number < feeds_.size(); ++number)
      if (feeds_[number]->now.size > 1) seal(number), sealed = true;
    if (!sealed) return;
  }
}

void History::evict(Feed& f) {
  const auto& chunk = *f.now.chunks->front();
  bytes_ -= chunk.bytes();
  samples_ -= chunk.samples();
  evicted_ += chunk.samples();
  evicted_until_ms_ = std::max(evicted_until_ms_, chunk.last_ms());
  f.now.chunks = std::make_shared<const history::Chunks>(f.now.chunks->begin() + 1, f.now.chunks->end());
  forget_dead(f);
}

// ---- the rest

History::Size History::size() const {
  Size s;
  s.series = index_.series();
  s.samples = samples_;
  s.index_bytes = index_.bytes();
  s.sample_bytes = size_bytes() - s.index_bytes;
  s.evicted = evicted_;
  auto oldest = now_ms_;
  for (const auto& f : feeds_) {
    if (!f->now.chunks->empty()) oldest = std::min(oldest, f->now.chunks->front()->first_ms());
    else if (f->now.size > 0) oldest = std::min(oldest, f->head->rows[0].t_ms);
  }
  s.oldest_ms = now_ms_ - oldest;
  return s;
}

std::unique_ptr<HistoryView> History::view() const {
  auto round = [this] {
    const MutexLock lock(mutex_);
    return round_;
  }();
  return std::make_unique<HistoryView>(round ? std::move(round) : std::make_shared<const history::Round>());
}

}  // namespace vitald
