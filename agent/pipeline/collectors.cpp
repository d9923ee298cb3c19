// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/collectors.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <optional>

#include "agent/config/flags.h"
#include "agent/pipeline/derive.h"
#include "core/log.h"
#include "core/os/descriptors.h"

namespace vitald {
namespace {

enum Health : std::size_t { duration, success, cpu, age, errors };
constexpr MetricDesc kMetrics[] = {
    {"node_scrape_collector_duration_seconds", MetricType::gauge, "node_exporter: Duration of a collector scrape.",
     "collector", "seconds", "vitald"},
    {"node_scrape_collector_success", MetricType::gauge, "node_exporter: Whether a collector succeeded.", "collector",
     "", "vitald"},
    {"vitald_collector_cpu_seconds_total", MetricType::counter,
     "CPU time a collector has used; measured now and then, in between it follows from the time that passed.",
     "collector", "seconds", "vitald"},
    {"vitald_collector_age_seconds", MetricType::gauge,
     "How old a collector's numbers were when the snapshot was made; more than a moment only from worker processes.",
     "collector", "seconds", "vitald"},
    {"vitald_collector_errors_total", MetricType::counter,
     "Failed collections and failed single items, by what a caller can do about them.", "collector,kind", "", "vitald"},
    {"vitald_worker_up", MetricType::gauge, "Whether the collector's worker process runs.", "collector", "", "vitald"},
    {"vitald_worker_starts_total", MetricType::counter, "Starts of a collector's worker process.", "collector", "",
     "vitald"},
    {"vitald_worker_deadline_kills_total", MetricType::counter,
     "Worker processes killed because an answer did not come in time.", "collector", "", "vitald"},
    {"vitald_worker_crashes_total", MetricType::counter, "Worker processes that ended by themselves.", "collector", "",
     "vitald"},
    {"vitald_worker_stuck", MetricType::gauge,
     "1 while a killed worker process does not end, waiting in the kernel (state D).", "collector", "", "vitald"},
};

// What a collector reads of the options; equal text means it need not be made anew.
std::string signature(const CollectorEntry& entry, const Options& options) {
  std::string text;
  for (const auto& flag : entry.info->flags)
    text += fmt::format("{}={}\n", flag.name, fmt::join(options.list(flag.name), "\n"));
  for (const auto& name : entry.info->others_flags)
    if (options.spec(name)) text += fmt::format("{}={} {}\n", name, options.text(name), options.given(name));
  return text;
}

constexpr std::size_t kBug = kErrcCount;  // after the kinds of Errc: an exception came out of a collector

}  // namespace

struct Collectors::Slot {
  const CollectorEntry* entry = nullptr;
  std::string signature;
  std::shared_ptr<const Options> options;  // the collector may look at them as long as it lives
  std::unique_ptr<Collector> collector;    // null: a worker has it
  std::unique_ptr<WorkerClient> worker;
  BatchWriter writer;
  BatchPtr batch, worker_batch;
  std::array<std::uint64_t, kErrcCount + 1> errors{};
  double cpu_ns = 0;
  // Of the rounds in which its CPU time was measured, the older ones fading out.
  double measured_cpu_ns = 0, measured_wall_ns = 0;
  std::optional<Error> absent;  // nothing to collect here; looked for again at retry_ns
  std::int64_t retry_ns = 0;
  std::string last_error;
  bool last_absent = false;
  std::vector<std::string> last_problems;
  std::int64_t asked_ns = 0;
  bool slow = false;  // its last answer took longer than a round waits

  explicit Slot(const CollectorEntry& e) : entry(&e), writer(std::string(e.name)) {}
};

Collectors::Collectors(const Host& host, std::span<const CollectorEntry> entries, MakeWorker make_worker)
    : host_(host), entries_(entries), make_worker_(std::move(make_worker)) {}
Collectors::~Collectors() = default;

std::span<const MetricDesc> Collectors::metrics() { return kMetrics; }

void Collectors::configure(const std::shared_ptr<const Options>& options) {
  using State = CollectorStatus::State;
  options_ = options;
  changed_ = true;
  auto old = std::move(slots_);
  slots_.clear();
  not_on_.clear();
  for (const auto& entry : entries_) {
    const auto name = switch_name(entry);
    const bool given = options->given(name);
    const bool defaults = !options->flag("collector.disable-defaults");
    CollectorStatus status{std::string(entry.name), entry.folder, entry.runs == Runs::worker, State::off, {}};
    if (given ? !options->flag(name) : !defaults || entry.state == DefaultState::off) {
      status.text = given      ? fmt::format("--no-{}", name)
                    : defaults ? "off by default"
                               : "off by --collector.disable-defaults";
      not_on_.push_back(std::move(status));
      continue;
    }
    const auto same = std::ranges::find_if(old, [&, now = signature(entry, *options)](const auto& s) {
      return s && s->entry == &entry && s->signature == now;
    });
    if (same != old.end()) {
      slots_.push_back(std::move(*same));
      continue;
    }
    if (auto failed = make(entry, false); failed.state != State::on) not_on_.push_back(std::move(failed));
  }
  std::ranges::sort(slots_, {}, [](const auto& s) { return s->entry->name; });
}

// On: it has a slot now. Otherwise why not.
CollectorStatus Collectors::make(const CollectorEntry& entry, bool quiet) {
  using State = CollectorStatus::State;
  CollectorStatus status{std::string(entry.name), entry.folder, entry.runs == Runs::worker, State::on, {}};
  // A worker's collector is made here too, and let go: only to know whether there is something to talk to.
  const int free_before = next_descriptor();
  auto made = DerivedCollector::make(entry, host_, *options_, so_far_);
  // What a probe holds it holds for good, and clients would lack it.
  if (const int free = next_descriptor(); made && free > free_before && !may_keep(free))
    made = fail(Errc::io,
                "the limit of open files is too low for it; set LimitNOFILE=4096 in the unit or raise ulimit -Hn");
  if (!made) {
    const auto& error = made.error();
    status.state = error.kind == Errc::absent ? State::unavailable : State::failed;
    status.text = error.text;
    status.empty = entry.state == DefaultState::on && error.kind == Errc::absent && error.err == 0;
    status.expected = entry.state == DefaultState::on || options_->given(switch_name(entry));
    // That this machine has no such thing is no news, unless it was asked for by name.
    const bool usual = error.kind == Errc::absent && !options_->given(switch_name(entry));
    if (!quiet && usual) log::debug("collector is not on", {{"collector", entry.name}, {"err", error.text}});
    if (!quiet && !usual) log::warn("collector is not on", {{"collector", entry.name}, {"err", error.text}});
    return status;
  }
  auto slot = std::make_unique<Slot>(entry);
  slot->signature = signature(entry, *options_);
  slot->options = options_;
  if (entry.runs == Runs::worker) slot->worker = make_worker_(entry.name);
  else slot->collector = std::move(*made);
  slots_.insert(std::ranges::upper_bound(slots_, entry.name, {}, [](const auto& s) { return s->entry->name; }),
                std::move(slot));
  return status;
}

void Collectors::retry() {
  for (const auto& entry : entries_) {
    const auto row = std::ranges::find(not_on_, entry.name, &CollectorStatus::name);
    if (row == not_on_.end() || row->probe() || row->state != CollectorStatus::State::unavailable) continue;
    if (make(entry, true).state != CollectorStatus::State::on) continue;
    log::info("collector is on now", {{"collector", entry.name}});
    not_on_.erase(row);
    changed_ = true;
  }
}

void Collectors::collect(std::vector<BatchPtr>& out, std::int64_t patience_ns) {
  const auto begin_ns = host_.clock().boot_ns();
  wall_offset_ns_ = host_.clock().wall_ns() - begin_ns;
  bool workers = false;
  for (auto& slot : slots_)
    if (slot->worker) {
      workers = true;
      if (!slot->worker->busy()) slot->asked_ns = begin_ns;
      slot->worker->request(begin_ns);
    }
  auto now_ns = begin_ns;
  ++round_;
  for (std::size_t i = 0; i < slots_.size(); ++i)
    if (slots_[i]->collector && slots_[i]->entry->runs != Runs::after)
      now_ns = run(*slots_[i], now_ns, round_ % slots_.size() == i);
  if (workers) {
    while (wait_for_workers(begin_ns + patience_ns)) {
    }
    now_ns = host_.clock().boot_ns();
    for (auto& slot : slots_)
      if (slot->worker && slot->worker->busy() && now_ns - slot->asked_ns >= patience_ns) slot->slow = true;
  }
  for (auto& slot : slots_) {
    if (slot->entry->runs == Runs::after) continue;
    if (slot->worker) finish_worker(*slot);
    out.push_back(slot->batch);
    if (slot->worker_batch) out.push_back(slot->worker_batch);
  }
}

void Collectors::derive(Snapshot& snapshot) {
  std::vector<Slot*> derivers;
  for (const auto& slot : slots_)
    if (slot->entry->runs == Runs::after) derivers.push_back(slot.get());
  std::ranges::sort(derivers, {}, &Slot::entry);  // in the order of the list: each sees those before it
  so_far_ = &snapshot;
  auto now_ns = derivers.empty() ? 0 : host_.clock().boot_ns();
  for (auto* slot : derivers) {
    now_ns = run(*slot, now_ns, true);
    insert_batch(snapshot, slot->batch);
  }
  so_far_ = nullptr;
}

// Begins at `begin_ns`, which the one before read as its end; returns its own.
std::int64_t Collectors::run(Slot& slot, std::int64_t begin_ns, bool measure) {
  // Reading a thread's CPU time is a system call (680 ns on a virtual machine, 25 times a read of the clock),
  // so it is done for one collector in turn and in between follows from the time that passed.
  measure = measure || slot.measured_wall_ns == 0;
  slot.writer.begin(begin_ns, begin_ns + wall_offset_ns_);
  Result<> outcome;
  bool bug = false;
  const bool look = !slot.absent || begin_ns >= slot.retry_ns;
  const auto cpu_begin = measure && look ? SystemClock::read(CLOCK_THREAD_CPUTIME_ID) : 0;
  try {
    if (look) outcome = slot.collector->collect(slot.writer);
    else outcome = fail(*slot.absent);
  } catch (const std::exception& e) {
    bug = true;
    outcome = fail(Errc::io, fmt::format("bug, please report: exception '{}'", e.what()));
  } catch (...) {
    bug = true;
    outcome = fail(Errc::io, "bug, please report: an exception of unknown type");
  }
  const auto end_ns = host_.clock().boot_ns();
  const auto wall_ns = static_cast<double>(end_ns - begin_ns);
  if (measure && look) {
    slot.measured_cpu_ns =
        0.9 * slot.measured_cpu_ns + static_cast<double>(SystemClock::read(CLOCK_THREAD_CPUTIME_ID) - cpu_begin);
    slot.measured_wall_ns = 0.9 * slot.measured_wall_ns + std::max(wall_ns, 1.0);
  }
  // Whole nanoseconds: their text is made in a fifth of the time.
  const double cpu_ns = look ? std::round(wall_ns * std::min(1.0, slot.measured_cpu_ns / slot.measured_wall_ns)) : 0;
  slot.cpu_ns += cpu_ns;

  if (look) {
    if (!outcome) note(slot, &outcome.error(), {}, bug);
    slot.absent.reset();
    if (!outcome && outcome.error().kind == Errc::absent) {
      slot.absent = outcome.error();
      slot.retry_ns = begin_ns + kRetryNs;
    }
  }
  emit_health(slot, outcome.has_value(), wall_ns / 1e9, 0, slot.cpu_ns / 1e9);
  slot.batch = slot.writer.finish(outcome, end_ns - begin_ns, static_cast<std::int64_t>(cpu_ns));
  // Known only now, so these are in the next round's vitald_collector_errors_total.
  if (outcome && (!slot.last_error.empty() || !slot.last_problems.empty() || !slot.batch->health.problems.empty()))
    note(slot, nullptr, slot.batch->health.problems, false);
  return end_ns;
}

void Collectors::finish_worker(Slot& slot) {
  const auto now_ns = host_.clock().boot_ns();
  if (slot.worker->advance(now_ns)) answered(slot, now_ns);
  if (!slot.worker_batch) changed_ = true;  // its process runs
  slot.worker_batch = slot.worker->batch(now_ns);
  slot.writer.begin(now_ns, now_ns + wall_offset_ns_);
  const auto* batch = slot.worker_batch.get();
  const auto cpu_s = static_cast<double>(slot.worker->stats().cpu_ns) / 1e9;
  emit_health(slot, batch && batch->health.ok, batch ? static_cast<double>(batch->health.wall_ns) / 1e9 : 0,
              batch ? static_cast<double>(now_ns - batch->collected_boot_ns) / 1e9 : 0, cpu_s);
  slot.batch = slot.writer.finish({}, 0, 0);
}

void Collectors::emit_health(Slot& slot, bool ok, double duration_s, double age_s, double cpu_s) {
  static constexpr std::string_view kKinds[] = {"absent", "gone", "denied", "malformed", "timeout", "io", "bug"};
  auto& out = slot.writer;
  const auto name = slot.entry->name;
  out.set(kMetrics[duration], duration_s, name);
  out.set(kMetrics[success], ok ? 1 : 0, name);
  out.set(kMetrics[cpu], cpu_s, name);
  out.set(kMetrics[age], age_s, name);
  for (std::size_t i = 0; i < slot.errors.size(); ++i)
    if (slot.errors[i]) out.set(kMetrics[errors], static_cast<double>(slot.errors[i]), name, kKinds[i]);
}

// Counts always, logs only what was not so the last time.
void Collectors::note(Slot& slot, const Error* error, std::span<const Error> problems, bool bug) {
  if (error) ++slot.errors[bug ? kBug : static_cast<std::size_t>(error->kind)];
  for (const auto& p : problems) ++slot.errors[static_cast<std::size_t>(p.kind)];

  const std::string_view text = error ? std::string_view(error->text) : std::string_view();
  if (text != slot.last_error) {
    if (!error) log::info("collector works again", {{"collector", slot.entry->name}});
    else if (error->kind == Errc::absent)
      log::debug("collector has no data", {{"collector", slot.entry->name}, {"err", text}});
    else log::error("collector failed", {{"collector", slot.entry->name}, {"err", text}});
    slot.last_error = text;
    slot.last_absent = error && error->kind == Errc::absent;
    changed_ = true;
  }
  if (error) return;  // says nothing about the single items
  std::vector<std::string> now;
  for (const auto& p : problems) {
    if (std::ranges::find(slot.last_problems, p.text) == slot.last_problems.end())
      log::warn("collector left something out", {{"collector", slot.entry->name}, {"err", p.text}});
    now.push_back(p.text);
  }
  slot.last_problems = std::move(now);
}

void Collectors::answered(Slot& slot, std::int64_t now_ns) {
  const auto batch = slot.worker->batch(now_ns);
  if (!batch) return;
  if (!batch->health.ok && batch->health.error) note(slot, &*batch->health.error, {}, false);
  else note(slot, nullptr, batch->health.problems, false);
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

void Collectors::emit_rest(BatchWriter& out) const {
  for (const auto& row : not_on_) {
    if (row.state == CollectorStatus::State::off || !row.expected) continue;
    out.set(kMetrics[duration], 0, row.name);
    out.set(kMetrics[success], row.empty ? 1 : 0, row.name);
  }
  for (const auto& slot : slots_) {
    if (!slot->worker) continue;
    const auto stats = slot->worker->stats();
    const auto name = slot->entry->name;
    out.set(kMetrics[5], stats.pid > 0 ? 1 : 0, name);
    out.set(kMetrics[6], static_cast<double>(stats.starts), name);
    out.set(kMetrics[7], static_cast<double>(stats.deadline_kills), name);
    out.set(kMetrics[8], static_cast<double>(stats.crashes), name);
    out.set(kMetrics[9], stats.stuck ? 1 : 0, name);
  }
}

CollectorStatuses Collectors::status() const {
  auto rows = std::make_shared<std::vector<CollectorStatus>>(not_on_);
  for (const auto& slot : slots_) {
    CollectorStatus row{
        std::string(slot->entry->name), slot->entry->folder, slot->worker != nullptr, CollectorStatus::State::on, {}};
    if (slot->collector) row.text = slot->collector->status();
    else if (const auto pid = slot->worker->stats().pid; pid > 0) row.text = fmt::format("worker process {}", pid);
    if (!slot->last_error.empty()) {
      row.state = slot->last_absent ? CollectorStatus::State::unavailable : CollectorStatus::State::failed;
      row.text = slot->last_error;
    }
    rows->push_back(std::move(row));
  }
  std::ranges::sort(*rows, {}, &CollectorStatus::name);
  return rows;
}

}  // namespace vitald
