// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/collectors.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <new>
#include <optional>

#include "agent/config/flags.h"
#include "agent/pipeline/derive.h"
#include "core/anybody.h"
#include "core/log.h"
#include "core/os/descriptors.h"
#include "core/os/few_descriptors.h"

namespace vitald {
namespace {

using State = CollectorStatus::State;

// What a collector reads of the options; equal text means it need not be made anew.
std::string signature(const CollectorEntry& entry, const Options& options) {
  std::string text;
  for (const auto& flag : entry.info->flags)
    text += fmt::format("{}={}\n", flag.name, fmt::join(options.list(flag.name), "\n"));
  for (const auto& name : entry.info->others_flags)
    if (options.spec(name)) text += fmt::format("{}={} {}\n", name, options.text(name), options.given(name));
  return text;
}

bool is_probe(const CollectorEntry& entry) { return entry.folder == kProbesFolder; }

}  // namespace

struct Collectors::Slot {
  const CollectorEntry* entry = nullptr;
  std::string signature;
  std::shared_ptr<const Options> options;  // the collector may look at them as long as it lives
  std::unique_ptr<Runner> runner;          // null: a worker has it
  std::unique_ptr<WorkerClient> worker;
  // Of a worker only.
  BatchPtr batch;
  Trouble trouble;
  std::int64_t asked_ns = 0;
  std::int64_t made_ns = 0;  // one without an answer yet is as old as this, not as the host
  bool slow = false;         // its last answer took longer than a round waits

  explicit Slot(const CollectorEntry& e) : entry(&e), trouble(e.name) {}
};

// The result of a make(), and all that it needs, as it may be away with its thread.
struct Collectors::Making {
  Making(const CollectorEntry* e, bool q, std::shared_ptr<const Options> o)
      : entry(e), quiet(q), options(std::move(o)) {}
  const CollectorEntry* entry;
  bool quiet;
  std::shared_ptr<const Options> options;
  std::optional<Result<std::unique_ptr<Collector>>> made;
  std::atomic<bool> back{false};

  void run(const Host& host, const SoFar& so_far) noexcept {
    try {
      make(host, so_far);
    } catch (...) {  // no memory for the text of an exception
      made = fail(Errc::io, "out of memory");
    }
  }
  void make(const Host& host, const SoFar& so_far) {
    // A worker's collector is made here too, and let go: only to know whether there is something to talk to.
    const int open_before = open_descriptors();
    try {
      made = DerivedCollector::make(*entry, host, *options, so_far);
    } catch (const std::bad_alloc&) {
      made = fail(Errc::io, "out of memory");
    } catch (const std::exception& e) {
      made = fail(Errc::io, fmt::format("bug, please report: exception '{}'", e.what()));
    } catch (...) {
      made = fail(Errc::io, "bug, please report: an exception of unknown type");
    }
    // What a probe holds it holds for good, and clients would lack it.
    if (const int open = open_descriptors(); *made && open > open_before && !may_keep(open))
      made = fail(Errc::io, std::string(kFewDescriptors));
  }
};

Collectors::Collectors(const Host& host, std::span<const CollectorEntry> entries, MakeWorker make_worker, Baton& baton,
                       Away& away)
    : host_(host), entries_(entries), make_worker_(std::move(make_worker)), baton_(baton), away_(away) {}
Collectors::~Collectors() = default;

void Collectors::begin_configure(std::shared_ptr<const Options> options, bool probes_later) {
  old_.reserve(old_.size() + slots_.size());
  owed_.reserve(entries_.size());  // and what follows cannot fail half-way
  later_.reserve(entries_.size());
  later_.clear();
  probes_later_ = probes_later;
  make_next_ = false;
  options_ = std::move(options);
  changed_ = true;
  owed_.clear();
  std::ranges::move(slots_, std::back_inserter(old_));  // it may be that another one was not finished
  slots_.clear();
  not_on_.clear();
  next_entry_ = 0;
}

bool Collectors::configure() {
  while (next_entry_ < entries_.size()) {
    const auto& entry = entries_[next_entry_++];
    try {
      if (!configure(entry)) return false;
    } catch (const std::bad_alloc&) {
      owed_.push_back(&entry);
      log::error("collector is not on", {{"collector", entry.name}, {"err", "out of memory; it is tried again"}});
    }
  }
  while (!old_.empty()) {
    auto slot = std::move(old_.back());
    old_.pop_back();
    if (!let_go(std::move(slot))) return false;
  }
  std::ranges::sort(slots_, {}, [](const auto& s) { return s->entry->name; });
  std::ranges::reverse(later_);
  probes_later_ = false;  // one that is owed is made in its turn
  return true;
}

bool Collectors::make_next() {
  if (!std::exchange(make_next_, false) || later_.empty()) return true;
  const auto& entry = *later_.back();
  later_.pop_back();
  changed_ = true;
  try {
    return make(entry, false);
  } catch (const std::bad_alloc&) {
    auto& row = not_on(entry);
    row.state = State::failed;
    row.text = "out of memory; it is tried again";
    owed_.push_back(&entry);  // configure() has made room
    log::error("collector is not on", {{"collector", entry.name}, {"err", row.text}});
    return true;
  }
}

bool Collectors::configure(const CollectorEntry& entry) {
  const auto name = switch_name(entry);
  const bool given = options_->given(name);
  const bool defaults = !options_->flag("collector.disable-defaults");
  if (given ? !options_->flag(name) : !defaults || entry.state == DefaultState::off) {
    not_on(entry).text = given      ? fmt::format("--no-{}", name)
                         : defaults ? "off by default"
                                    : "off by --collector.disable-defaults";
    return true;
  }
  const auto same = std::ranges::find_if(old_, [&, now = signature(entry, *options_)](const auto& s) {
    return s && s->entry == &entry && s->signature == now;
  });
  if (same != old_.end()) {
    slots_.push_back(std::move(*same));
    old_.erase(same);
    return true;
  }
  // The one of before must be gone, as must what hangs: one thread each, however often it is configured.
  for (auto& s : old_)
    if (s && s->entry == &entry && s->runner && s->runner->away()) orphans_.push_back(std::move(s));
  std::erase(old_, nullptr);
  if (probes_later_ && is_probe(entry) && !given) {
    auto& row = not_on(entry);
    row.state = State::starting;
    row.text = "the kernel checks its programs";
    later_.push_back(&entry);
    return true;
  }
  return make(entry, false);
}

// Its row among those that are not on, made when there is none.
CollectorStatus& Collectors::not_on(const CollectorEntry& entry) {
  const auto row = std::ranges::find(not_on_, entry.name, &CollectorStatus::name);
  if (row != not_on_.end()) return *row;
  return not_on_.emplace_back(
      CollectorStatus{std::string(entry.name), entry.folder, entry.runs == Runs::worker, State::off, {}});
}

bool Collectors::blocked(const CollectorEntry& entry) const {
  return std::ranges::any_of(late_, [&](const auto& m) { return m->entry == &entry; }) ||
         std::ranges::any_of(orphans_, [&](const auto& s) { return s->entry == &entry; });
}

// False: see the class.
bool Collectors::make(const CollectorEntry& entry, bool quiet) {
  if (blocked(entry)) {
    auto& row = not_on(entry);
    row.state = State::failed;
    row.text = "the one before hangs in the kernel; it is made anew when that comes back";
    return true;
  }
  const auto making = std::make_shared<Making>(&entry, quiet, options_);
  making_ = making;
  const auto ticket = baton_.enter(host_.clock().boot_ns(), kMakeNs);
  making->run(host_, so_far_);
  if (!baton_.leave(ticket)) {
    making->back.store(true, std::memory_order_release);
    return false;
  }
  making_.reset();
  adopt(*making);
  return true;
}

// It has a slot from now on, or a row that says why not.
void Collectors::adopt(Making& making) {
  const auto& entry = *making.entry;
  auto& made = *making.made;
  if (!made) {
    const auto& error = made.error();
    auto& row = not_on(entry);
    row.state = error.kind == Errc::absent ? State::unavailable : State::failed;
    row.text = error.text;
    row.empty = entry.state == DefaultState::on && error.kind == Errc::absent && error.err == 0;
    row.by_name = options_->given(switch_name(entry));
    row.expected = entry.state == DefaultState::on || row.by_name;
    // That this machine has no such thing is no news, unless it was asked for by name.
    const bool usual = error.kind == Errc::absent && !row.by_name;
    if (!making.quiet && usual) log::debug("collector is not on", {{"collector", entry.name}, {"err", error.text}});
    if (!making.quiet && !usual) log::warn("collector is not on", {{"collector", entry.name}, {"err", error.text}});
    return;
  }
  auto slot = std::make_unique<Slot>(entry);
  slot->signature = signature(entry, *options_);
  slot->options = options_;
  slot->made_ns = host_.clock().boot_ns();
  if (entry.runs == Runs::worker) slot->worker = make_worker_(entry.name);
  else
    slot->runner = std::make_unique<Runner>(
        entry.name, std::move(*made),
        [this, &entry, options = options_] { return DerivedCollector::make(entry, host_, *options, so_far_); },
        host_.clock(), baton_, away_);
  slots_.insert(std::ranges::upper_bound(slots_, entry.name, {}, [](const auto& s) { return s->entry->name; }),
                std::move(slot));
  const auto row = std::ranges::find(not_on_, entry.name, &CollectorStatus::name);
  if (row != not_on_.end()) {
    if (row->state != State::starting) log::info("collector is on now", {{"collector", entry.name}});
    not_on_.erase(row);
  }
  changed_ = true;
}

// Closing what it has open may hang as well.
bool Collectors::let_go(std::unique_ptr<Slot> slot) {
  if (slot->runner && slot->runner->away()) {
    orphans_.push_back(std::move(slot));
    return true;
  }
  letting_go_ = slot->entry->name;
  const auto ticket = baton_.enter(host_.clock().boot_ns(), kMakeNs);
  slot.reset();
  if (!baton_.leave(ticket)) return false;
  letting_go_.clear();
  return true;
}

void Collectors::step_hangs() {
  away_.went();
  changed_ = true;
  if (making_) {
    const auto& entry = *making_->entry;
    auto& row = not_on(entry);
    row.state = State::failed;
    row.text = fmt::format(
        "making it has not come back within {} ms: the kernel or a driver does not answer, or it has far too much to "
        "read",
        kMakeNs / 1'000'000);
    log::error("collector is not on", {{"collector", entry.name}, {"err", row.text}});
    late_.push_back(std::move(making_));
  } else if (!letting_go_.empty()) {
    log::error("closing the files of a collector that is off now hangs", {{"collector", letting_go_}});
    letting_go_.clear();
  } else if (running_) {
    running_->runner->hangs();
  }
  running_ = nullptr;
}

// What threads that were away have brought back. False: see the class.
bool Collectors::look_for_returned() {
  for (std::size_t i = 0; i < orphans_.size();) {
    if (orphans_[i]->runner->away()) {
      ++i;
      continue;
    }
    const auto& entry = *orphans_[i]->entry;
    auto slot = std::move(orphans_[i]);
    orphans_.erase(orphans_.begin() + static_cast<std::ptrdiff_t>(i));
    const auto row = std::ranges::find(not_on_, entry.name, &CollectorStatus::name);
    const bool wanted = row != not_on_.end() && row->state == State::failed;
    if (!let_go(std::move(slot))) return false;
    if (wanted && !make(entry, false)) return false;
  }
  for (std::size_t i = 0; i < late_.size();) {
    if (!late_[i]->back.load(std::memory_order_acquire)) {
      ++i;
      continue;
    }
    const auto making = std::move(late_[i]);
    late_.erase(late_.begin() + static_cast<std::ptrdiff_t>(i));
    const auto& entry = *making->entry;
    const auto row = std::ranges::find(not_on_, entry.name, &CollectorStatus::name);
    if (row == not_on_.end() || row->state != State::failed) continue;  // not wanted any more
    if (making->options == options_) adopt(*making);
    else if (!make(entry, false)) return false;
  }
  return true;
}

bool Collectors::retry() {
  while (!owed_.empty()) {
    const auto& entry = *owed_.back();
    owed_.pop_back();
    try {
      if (!configure(entry)) return false;
    } catch (const std::bad_alloc&) {
      owed_.push_back(&entry);
      break;
    }
  }
  while (next_entry_ < entries_.size()) {
    const auto& entry = entries_[next_entry_++];
    const auto row = std::ranges::find(not_on_, entry.name, &CollectorStatus::name);
    if (row == not_on_.end() || row->probe() || row->state != State::unavailable) continue;
    if (!make(entry, true)) return false;
  }
  return true;
}

void Collectors::begin_round(std::int64_t patience_ns) {
  round_begin_ns_ = host_.clock().boot_ns();
  wall_offset_ns_ = host_.clock().wall_ns() - round_begin_ns_;
  patience_ns_ = patience_ns;
  next_slot_ = 0;
  running_ = nullptr;  // an exception may have ended the round before
  ++round_;
  for (auto& slot : slots_)
    if (slot->worker) {
      if (!slot->worker->busy()) slot->asked_ns = round_begin_ns_;
      slot->worker->request(round_begin_ns_);
    }
}

bool Collectors::round(std::vector<BatchPtr>& out) {
  if (collect_again() && !look_for_returned()) return false;
  auto now_ns = next_slot_ == 0 ? round_begin_ns_ : host_.clock().boot_ns();
  while (next_slot_ < slots_.size()) {
    const auto i = next_slot_++;
    auto& slot = *slots_[i];
    if (!slot.runner || slot.entry->runs == Runs::after) continue;
    running_ = &slot;
    const auto end_ns = slot.runner->run({now_ns, wall_offset_ns_, round_ % slots_.size() == i});
    if (!end_ns) return false;
    now_ns = *end_ns;
  }
  running_ = nullptr;
  if (std::ranges::any_of(slots_, [](const auto& slot) { return slot->worker != nullptr; })) {
    while (wait_for_workers(round_begin_ns_ + patience_ns_)) {
    }
    now_ns = host_.clock().boot_ns();
    for (auto& slot : slots_)
      if (slot->worker && slot->worker->busy() && now_ns - slot->asked_ns >= patience_ns_) slot->slow = true;
  }
  for (auto& slot : slots_) {
    if (slot->entry->runs == Runs::after) continue;
    if (slot->worker) finish_worker(*slot, out);
    else if (auto batch = slot->runner->batch(now_ns)) out.push_back(std::move(batch));
  }
  round_end_ns_ = now_ns;
  return true;
}

void Collectors::finish_round(Snapshot& snapshot) {
  derive(snapshot);
  insert_batch(snapshot, health());
}

// Not steps that another thread could take over from: what a deriver reads ends with the cycle.
void Collectors::derive(Snapshot& snapshot) {
  derivers_.clear();
  for (const auto& slot : slots_)
    if (slot->entry->runs == Runs::after) derivers_.push_back(slot.get());
  std::ranges::sort(derivers_, {}, &Slot::entry);  // in the order of the list: each sees those before it
  // What anybody may write is no meter and no processor: a text file must not move watts from one owner to another.
  // std::stable_partition would allocate and copy in each cycle, also where nobody writes anything.
  auto& all = snapshot.batches;
  auto end = std::ranges::find_if(all, [](const auto& b) { return written_by_anybody(b->collector); });
  for (auto at = end; at != all.end(); ++at) {
    if (written_by_anybody((*at)->collector)) so_far_.from_anybody.push_back(std::move(*at));
    else *end++ = std::move(*at);
  }
  all.erase(end, all.end());
  so_far_.snapshot = &snapshot;
  auto now_ns = derivers_.empty() ? 0 : host_.clock().boot_ns();
  for (std::size_t i = 0; i < derivers_.size(); ++i) {
    auto* slot = derivers_[i];
    now_ns = slot->runner->run_to_end({now_ns, wall_offset_ns_, round_ % derivers_.size() == i});
    if (auto batch = slot->runner->batch(now_ns)) insert_batch(snapshot, std::move(batch));
  }
  so_far_.snapshot = nullptr;
  for (auto& batch : so_far_.from_anybody) insert_batch(snapshot, std::move(batch));
  so_far_.from_anybody.clear();
}

void Collectors::finish_worker(Slot& slot, std::vector<BatchPtr>& out) {
  const auto now_ns = host_.clock().boot_ns();
  if (slot.worker->advance(now_ns)) answered(slot, now_ns);
  if (!slot.batch) changed_ = true;  // its process runs
  slot.batch = slot.worker->batch(now_ns);
  if (slot.batch) out.push_back(slot.batch);
}

BatchPtr Collectors::health() {
  const auto now_ns = round_end_ns_;
  health_.begin(round_begin_ns_, round_begin_ns_ + wall_offset_ns_);
  for (const auto& slot : slots_) {
    const auto name = slot->entry->name;
    if (slot->runner) {
      auto& r = *slot->runner;
      const auto batch = r.batch(now_ns);
      health_.on({name, r.ok(), batch ? static_cast<double>(batch->health.wall_ns) / 1e9 : 0, r.cost().total_ns() / 1e9,
                  r.age_s(now_ns), r.trouble()});
    } else {
      const auto* batch = slot->batch.get();
      const auto stats = slot->worker->stats();
      health_.on({name, batch && batch->health.ok, batch ? static_cast<double>(batch->health.wall_ns) / 1e9 : 0,
                  static_cast<double>(stats.cpu_ns) / 1e9,
                  batch ? static_cast<double>(now_ns - std::max(batch->collected_boot_ns, slot->made_ns)) / 1e9 : 0,
                  slot->trouble});
      health_.worker(name, stats);
    }
  }
  for (const auto& row : not_on_)
    if (row.state != State::off && row.state != State::starting && row.expected) health_.not_on(row.name, row.empty);
  return health_.finish();
}

void Collectors::answered(Slot& slot, std::int64_t now_ns) {
  const auto batch = slot.worker->batch(now_ns);
  if (!batch) return;
  if (!batch->health.ok && batch->health.error)
    changed_ |= slot.trouble.failed(*batch->health.error, batch->health.problems, false);
  else changed_ |= slot.trouble.worked(batch->health.problems);
}

// Polls once. False when there is nothing left to wait for, or no time.
bool Collectors::wait_for_workers(std::int64_t until_ns) {
  std::vector<pollfd> fds;
  for (const auto& slot : slots_)
    if (slot->worker && slot->worker->busy() && !slot->slow && slot->worker->fd() >= 0)
      fds.push_back({slot->worker->fd(), POLLIN, 0});
  const auto left_ns = until_ns - host_.clock().boot_ns();
  if (fds.empty() || left_ns <= 0) return false;
  if (poll(fds.data(), fds.size(), static_cast<int>((left_ns + 999'999) / 1'000'000)) <= 0) return false;
  watch();
  return true;
}

void Collectors::watch() {
  const auto now_ns = host_.clock().boot_ns();
  for (auto& slot : slots_) {
    if (!slot->worker || !slot->worker->busy()) continue;
    if (!slot->worker->advance(now_ns)) continue;
    slot->slow = now_ns - slot->asked_ns > kPatienceNs;
    answered(*slot, now_ns);
  }
}

bool Collectors::owed() const {
  return std::ranges::any_of(slots_, [](const auto& slot) { return slot->worker && slot->worker->busy(); });
}

void Collectors::add_worker_fds(std::vector<int>& fds) const {
  for (const auto& slot : slots_)
    if (slot->worker && slot->worker->busy()) fds.push_back(slot->worker->fd());
}

void Collectors::add_news(std::vector<News>& news) const {
  for (const auto& slot : slots_)
    if (slot->runner)
      if (const int fd = slot->runner->news_fd(); fd >= 0) news.push_back({fd, slot->entry});
}

bool Collectors::take_changed() {
  for (const auto& slot : slots_)
    if (slot->runner && slot->runner->take_changed()) changed_ = true;
  return std::exchange(changed_, false);
}

CollectorStatuses Collectors::status() const {
  auto rows = std::make_shared<std::vector<CollectorStatus>>(not_on_);
  for (const auto& slot : slots_) {
    CollectorStatus row{std::string(slot->entry->name), slot->entry->folder, slot->worker != nullptr, State::on, {}};
    if (slot->runner) row.text = slot->runner->status();
    else if (const auto pid = slot->worker->stats().pid; pid > 0) row.text = fmt::format("worker process {}", pid);
    const auto& trouble = slot->runner ? slot->runner->trouble() : slot->trouble;
    if (!trouble.text().empty()) {
      row.state = trouble.absent() ? State::unavailable : State::failed;
      row.text = trouble.text();
    }
    row.left_out = trouble.items();
    row.by_name = options_ && options_->given(switch_name(*slot->entry));
    rows->push_back(std::move(row));
  }
  std::ranges::sort(*rows, {}, &CollectorStatus::name);
  return rows;
}

}  // namespace vitald
