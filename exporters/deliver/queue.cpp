// SPDX-License-Identifier: Apache-2.0
#include "exporters/deliver/queue.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <exception>
#include <new>
#include <optional>
#include <thread>

#include "core/instruments.h"
#include "core/log.h"
#include "core/mutex.h"
#include "core/os/fd.h"
#include "exporters/deliver/backoff.h"
#include "exporters/deliver/journal.h"
#include "exporters/deliver/segment.h"

namespace vitald {
namespace {

using std::chrono::nanoseconds;

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kPushPatience = kSecond;
constexpr std::int64_t kWriteAgain = 5 * kSecond;  // after a write that failed
constexpr std::size_t kMostItem = kMostRecord / 2;

// In memory, with what the allocator and the deque need.
std::size_t size_of(const Item& item) { return item.key.size() + item.body.size() + 128; }

}  // namespace

// Items are, from the oldest to the newest: those in `memory` (the first `in_flight` of them are being sent), those
// that are only on disk, those in `unwritten` that are not in memory. Any of these may be empty. In journal mode
// `unwritten` also has items that are in memory.
struct Queue::Impl {
  Impl(QueueSettings s, std::unique_ptr<Destination> d, std::shared_ptr<const StateDir> state, const Clock& c)
      : settings(std::move(s)),
        destination(std::move(d)),
        clock(c),
        backoff(
            settings.first_wait_ns, settings.most_wait_ns,
            std::hash<std::string>()(settings.name) ^ static_cast<std::uint64_t>(SystemClock::read(CLOCK_REALTIME))),
        recovered(state == nullptr),
        has_writer(state != nullptr) {
    if (state)
      journal = std::make_unique<Journal>(std::move(state), settings.name, settings.folder, settings.most_disk_bytes);
  }

  // --- metrics

  [[nodiscard]] std::vector<std::pair<std::string, std::string>> labels() const {
    return {{"data_type", settings.data_type}, {"destination", settings.name}};
  }
  [[nodiscard]] prometheus::Gauge& gauge(const char* family, const char* help) const {
    return instruments().gauge(family, help, labels());
  }
  [[nodiscard]] prometheus::Counter& counter(const char* family, const char* help) const {
    return instruments().counter(family, help, labels());
  }
  [[nodiscard]] prometheus::Counter& drops(const char* reason) const {
    return dropped_items(settings.data_type, settings.name, reason);
  }

  struct Drop {
    prometheus::Counter& counter;
    std::uint64_t QueueStats::Dropped::*count;
    std::string_view label, why;
  };
  void count_items(const Drop& reason, std::uint64_t items) REQUIRES(mutex) {
    dropped.*reason.count += items;
    reason.counter.Increment(static_cast<double>(items));
  }
  void drop(const Item& item, const Drop& reason) REQUIRES(mutex) {
    count_items(reason, 1);
    count_dropped(reason, item.records);
    // Each is named. Of what somebody counts, numbers that come again and again, the first is enough.
    if (settings.on_drop && std::exchange(drop_said, true)) return;
    log::warn("delivery: an item is dropped",
              {{"destination", settings.name}, {"item", item.key}, {"reason", reason.why}});
  }
  void count_dropped(const Drop& reason, std::uint64_t records) const REQUIRES(mutex) {
    if (settings.on_drop) settings.on_drop(reason.label, records);
  }
  void lose(std::uint64_t items, std::uint64_t records) EXCLUDES(mutex) {
    const MutexLock lock(mutex);
    count_items(lost, items);
    count_dropped(lost, records);
  }

  // --- what is in memory

  void remember(ItemPtr item) REQUIRES(mutex) {
    memory_bytes += size_of(*item);
    memory_records += item->records;
    memory.push_back(std::move(item));
  }
  std::deque<ItemPtr>::iterator forget(std::deque<ItemPtr>::iterator at) REQUIRES(mutex) {
    memory_bytes -= size_of(**at);
    memory_records -= (*at)->records;
    return memory.erase(at);
  }
  [[nodiscard]] bool has_room_for(const Item& item) const REQUIRES(mutex) {
    return memory_bytes + size_of(item) <= settings.most_memory_bytes &&
           (settings.most_memory_records == SIZE_MAX || memory.empty() ||
            memory_records + item.records <= settings.most_memory_records);
  }
  [[nodiscard]] bool memory_is_over() const REQUIRES(mutex) {
    return memory_bytes > settings.most_memory_bytes ||
           (memory_records > settings.most_memory_records && memory.size() > in_flight + 1);
  }

  // From now on all that waits goes to disk, in order: the destination is away.
  void begin_spilling() REQUIRES(mutex) {
    if (settings.journal || spilling || !journal || !journal_usable) return;
    spilling = true;
    for (const auto& item : memory)
      if (item->id > written_id) unwritten.push_back({item, true});
    wake_writer.notify_one();
  }
  // Who has had items for a second is away, whatever he will answer: the writing thread looks.
  [[nodiscard]] bool watches_attempts() const REQUIRES(mutex) {
    return !settings.journal && !spilling && journal_usable;
  }
  void end_spilling() REQUIRES(mutex) {
    if (memory.empty() && on_disk_only == 0 && unwritten.empty() && writing_id == 0) spilling = drop_said = false;
  }

  // --- with the lock

  [[nodiscard]] std::size_t waiting() const REQUIRES(mutex) {
    return memory.size() - in_flight + on_disk_only + unwritten_only;
  }

  void changed() REQUIRES(mutex) {
    queued.Set(static_cast<double>(waiting() + in_flight));
    disk.Set(static_cast<double>(disk_bytes));
    if (settings.on_change) settings.on_change(stats());
  }

  [[nodiscard]] QueueStats stats() const REQUIRES(mutex) {
    const auto oldest = !memory.empty()      ? memory.front()->wall_ms
                        : on_disk_only > 0   ? oldest_on_disk_ms
                        : !unwritten.empty() ? unwritten.front().item->wall_ms
                                             : 0;
    return {waiting(), in_flight, delivered, dropped, oldest, disk_bytes, failing, refusing, problem};
  }

  // The oldest that is still wanted; what comes before it is done with.
  [[nodiscard]] std::uint64_t done_id() const REQUIRES(mutex) {
    if (!memory.empty()) return memory.front()->id - 1;
    if (on_disk_only > 0) return loaded_id;
    if (unwritten_only > 0)
      for (const auto& u : unwritten)
        if (!u.in_memory) return u.item->id - 1;
    return next_id - 1;
  }

  void add(Item item) REQUIRES(mutex) {
    if (size_of(item) > kMostItem) {
      set_refusing(true);
      return drop(item, too_large);
    }
    item.id = next_id++;
    const auto shared = std::make_shared<const Item>(std::move(item));
    const bool room = on_disk_only == 0 && unwritten_only == 0 && (!journal || has_room_for(*shared));
    if (!room) begin_spilling();  // before it: they are older
    if (room) {
      remember(shared);
      loaded_id = shared->id;
    } else {
      ++unwritten_only;
      unwritten_only_bytes += size_of(*shared);
    }
    if (journal && (settings.journal || spilling || !room)) unwritten.push_back({shared, room});
    while (waiting() > settings.most_items || (!journal && memory_is_over()))
      if (!drop_oldest()) break;
    // The disk does not take them, and memory is bounded. With some on disk, those are the oldest that one can drop.
    while (unwritten_only_bytes > settings.most_memory_bytes) {
      if (!(on_disk_only > 0 ? drop_unwritten() : drop_oldest())) break;
      refill();
    }
  }

  bool drop_oldest() REQUIRES(mutex) {
    if (memory.size() > in_flight) {
      const auto at = memory.begin() + static_cast<std::ptrdiff_t>(in_flight);
      const auto again = std::ranges::find(unwritten, *at, &Unwritten::item);
      if (again != unwritten.end()) unwritten.erase(again);
      drop(**at, full);
      forget(at);
      return true;
    }
    if (on_disk_only > 0) {
      ++skip_on_disk;
      --on_disk_only;
      count_items(full, 1);
      return true;
    }
    return drop_unwritten();
  }

  bool drop_unwritten() REQUIRES(mutex) {
    const auto at = std::ranges::find_if(
        unwritten, [this](const Unwritten& u) REQUIRES(mutex) { return !u.in_memory && u.item->id > writing_id; });
    if (at == unwritten.end()) return false;
    --unwritten_only;
    unwritten_only_bytes -= size_of(*at->item);
    drop(*at->item, full);
    unwritten.erase(at);
    return true;
  }

  void measure() REQUIRES(mutex) {
    const auto oldest = stats().oldest_wall_ms;
    const auto age_ms = oldest == 0 ? 0 : clock.wall_ns() / 1'000'000 - oldest;
    age.Set(static_cast<double>(std::max<std::int64_t>(age_ms, 0)) / 1000);
  }

  void forget_front(std::size_t count) REQUIRES(mutex) {
    for (std::size_t i = 0; i < count && !memory.empty(); ++i) forget(memory.begin());
    // One that is delivered need not be written any more.
    const auto done = done_id();
    while (!unwritten.empty() && unwritten.front().in_memory && unwritten.front().item->id <= done)
      unwritten.pop_front();
    // All is told, so nothing would be lost: what comes next finds out whether the disk takes it again.
    if (!write_failed || waiting() != 0) return;
    write_failed = false;
    unsaved.Set(0);
    log::info("delivery: all that the disk did not take is delivered", {{"destination", settings.name}});
  }

  // In journal mode what is sent is on disk first: who is killed while it sends finds it again. Unless the disk does
  // not take it.
  [[nodiscard]] bool may_send(const Item& item) const REQUIRES(mutex) {
    return !settings.journal || !journal || writer_ended || !journal_usable || write_failed || slow ||
           item.id <= written_id;
  }

  // --- the sending thread

  void send_loop() {
    MutexLock lock(mutex);
    std::int64_t not_before_ns = 0;
    in_flight = 0;
    while (!stopping) {
      if (memory.empty()) refill();
      measure();  // also where no rules run and nobody else does
      if (memory.empty() || !may_send(*memory.front())) {
        if (stats().oldest_wall_ms == 0) wake_sender.wait(lock);
        else wake_sender.wait_for_ns(lock, kSecond);
        continue;
      }
      if (const auto left_ns = not_before_ns - clock.boot_ns(); left_ns > 0) {
        wake_sender.wait_for_ns(lock, std::min(left_ns, kSecond));
        continue;
      }
      std::vector<Item> batch;
      const auto most = failing ? std::max(settings.batch_items, settings.failing_batch_items) : settings.batch_items;
      for (const auto& item : memory) {
        if (batch.size() == most || !may_send(*item)) break;
        batch.push_back(*item);
      }
      in_flight = batch.size();
      attempt_since_ns = clock.boot_ns();
      changed();
      if (watches_attempts()) wake_writer.notify_one();
      lock.unlock();
      auto sent = attempt(batch);
      lock.lock();
      in_flight = 0;
      const auto taken = sent ? std::min(sent->taken, batch.size()) : 0;
      if (sent) {
        const auto refused_now = std::min(sent->refused, taken);
        delivered += taken - refused_now;
        delivered_total.Increment(static_cast<double>(taken - refused_now));
        const auto too_large_now = std::min(sent->too_large, refused_now);
        const auto failed_now = std::min(sent->failed, refused_now - too_large_now);
        const auto itself_now = std::min(sent->about_delivery, refused_now - too_large_now - failed_now);
        count_items(refused, refused_now - too_large_now - failed_now - itself_now);
        count_items(about_delivery, itself_now);
        count_items(too_large, too_large_now);
        count_items(failed, failed_now);
      }
      forget_front(taken);
      if (taken > 0) note_refusing(sent->refusing);
      if (!stopping) note(sent, taken == batch.size());
      end_spilling();
      if (taken == batch.size()) {
        backoff.reset();
        not_before_ns = 0;
      } else if (!stopping) {
        not_before_ns = clock.boot_ns() + backoff.next(sent ? sent->retry_after_ns : 0);
      }
      changed();
      wake_writer.notify_one();
      wrote.notify_all();  // what is delivered need not be written
    }
  }

  Result<Sent> attempt(const std::vector<Item>& batch) {
    try {
      return destination->send(batch, {clock.boot_ns() + settings.attempt_ns, stop_fd.get()});
    } catch (const std::bad_alloc&) {
      return fail(Errc::io, "out of memory");
    } catch (const std::exception& e) {
      return fail(Errc::io, fmt::format("bug, please report: exception '{}'", e.what()));
    }
  }

  void set_refusing(bool now) REQUIRES(mutex) {
    refusing = now;
    refuses.Set(now ? 1 : 0);
  }
  // After items were taken.
  void note_refusing(bool now) REQUIRES(mutex) {
    refusing_since_empty |= now;
    if (now) set_refusing(true);
    if (settings.items_go_together && waiting() > 0) return;
    if (!std::exchange(refusing_since_empty, false)) set_refusing(false);
  }

  // Once per change of state, not once per attempt.
  void note(const Result<Sent>& sent, bool all) REQUIRES(mutex) {
    if (all) {
      if (failing)
        log::info(sent->refused < sent->taken ? "delivery: it is taken again"
                                              : "delivery: there is an answer again, and all is refused",
                  {{"destination", settings.name}});
      failing = false;
      problem = sent->problem;
      return;
    }
    failed_total.Increment();
    begin_spilling();
    problem = !sent ? sent.error().text : sent->problem.empty() ? "the receiver asks to wait" : sent->problem;
    if (!failing)
      log::warn("delivery: not taken, it is tried again",
                {{"destination", settings.name}, {"err", problem}, {"waiting", fmt::format("{}", waiting())}});
    failing = true;
  }

  // What could not be written moves up when nothing older is left.
  void refill() REQUIRES(mutex) {
    if (on_disk_only > 0) return wake_writer.notify_one();
    for (auto& u : unwritten) {
      if (u.in_memory) continue;
      if (!has_room_for(*u.item) && !memory.empty()) break;
      u.in_memory = true;
      --unwritten_only;
      unwritten_only_bytes -= size_of(*u.item);
      remember(u.item);
      loaded_id = u.item->id;
    }
  }

  // --- the writing thread

  void write_loop() {
    recover();
    MutexLock lock(mutex);
    std::int64_t write_not_before_ns = 0, read_not_before_ns = 0, end_ns = 0;
    std::uint64_t marked = 0;
    for (;;) {
      const auto now_ns = clock.boot_ns();
      if (stopping && end_ns == 0) {
        end_ns = now_ns + settings.end_patience_ns / 2;
        write_not_before_ns = now_ns;  // a last try: the disk may have room again
      }
      if (in_flight > 0 && watches_attempts() && now_ns - attempt_since_ns >= kSecond) begin_spilling();
      const bool to_write = !unwritten.empty() && journal_usable && write_not_before_ns <= now_ns;
      const bool to_read = on_disk_only > 0 && memory.size() <= in_flight && !stopping && read_not_before_ns <= now_ns;
      const bool to_mark = journal_usable && done_id() > marked;
      if (to_write) {
        if (!write_some()) write_not_before_ns = clock.boot_ns() + kWriteAgain;
      } else if (to_read) {
        if (!read_some()) read_not_before_ns = clock.boot_ns() + kWriteAgain;
      } else if (to_mark) {
        marked = done_id();
        lock.unlock();
        journal->done(marked);
        lock.lock();
        disk_bytes = journal->bytes();
        changed();
      } else if (stopping && (sender_ended || now_ns >= end_ns)) {
        return finish();
      } else if (stopping || !unwritten.empty() || on_disk_only > 0 || (in_flight > 0 && watches_attempts())) {
        wake_writer.wait_for_ns(lock, stopping ? kSecond / 50 : kSecond);
      } else {
        wake_writer.wait(lock);
      }
    }
  }

  void recover() {
    {
      const MutexLock lock(mutex);
      if (recovered) return;  // this thread is there for a second time
    }
    auto found = journal->open();
    const MutexLock lock(mutex);
    journal_usable = found.has_value();
    if (!found) {
      log::warn("delivery: what waits is not kept over a restart",
                {{"destination", settings.name}, {"err", found.error().text}});
    } else {
      next_id = found->last_id + 1;
      loaded_id = found->done;
      written_id = found->last_id;
      on_disk_only = found->items;
      oldest_on_disk_ms = found->oldest_wall_ms;
      disk_bytes = journal->bytes();
      spilling = !settings.journal && found->items > 0;  // until they are gone what comes waits as well
      if (found->items > 0)
        log::info("delivery: items of an earlier run wait",
                  {{"destination", settings.name}, {"items", fmt::format("{}", found->items)}});
    }
    recovered = true;
    slow = false;
    for (auto& item : early) add(std::move(item));
    early.clear();
    changed();
    wake_sender.notify_one();
    wrote.notify_all();
  }

  // False: the disk does not take it now.
  bool write_some() REQUIRES(mutex) {
    std::vector<ItemPtr> items;
    for (const auto& u : unwritten) items.push_back(u.item);
    std::size_t coming = 0;
    for (const auto& item : items) coming += size_of(*item);
    while (disk_bytes + coming > settings.most_disk_bytes && drop_segment()) {
    }
    writing_id = items.back()->id;
    const auto written = [&]() REQUIRES(mutex) {
      const MutexUnlock meanwhile(mutex);
      return journal->append(items, settings.journal);
    }();
    writing_id = 0;
    disk_bytes = journal->bytes();
    if (!written) {
      if (!write_failed) {
        log::warn("delivery: the disk does not take what waits: it stays in memory, a restart would lose it",
                  {{"destination", settings.name}, {"err", written.error().text}});
        unsaved.Set(1);
      }
      write_failed = true;
      slow = false;
      wake_sender.notify_one();
      wrote.notify_all();  // nobody waits for a disk that says no
      return false;
    }
    if (write_failed) {
      log::info("delivery: the disk takes what waits again", {{"destination", settings.name}});
      unsaved.Set(0);
    }
    write_failed = slow = false;
    written_id = std::max(written_id, items.back()->id);
    while (!unwritten.empty() && unwritten.front().item->id <= items.back()->id) {
      if (!unwritten.front().in_memory) {
        --unwritten_only;
        unwritten_only_bytes -= size_of(*unwritten.front().item);
        if (on_disk_only++ == 0) oldest_on_disk_ms = unwritten.front().item->wall_ms;
      }
      unwritten.pop_front();
    }
    wrote.notify_all();
    wake_sender.notify_one();
    changed();
    return true;
  }

  // The files are too large: the oldest one goes, with all that waits in it. False: it cannot, or there is none.
  bool drop_segment() REQUIRES(mutex) {
    const auto after = loaded_id;
    std::uint64_t ends = 0, records = 0;
    std::size_t on_disk = 0;
    {
      const MutexUnlock meanwhile(mutex);
      ends = journal->oldest_segment_ends();
      if (ends > after) {
        if (const auto items = journal->load(after)) {
          on_disk = items->size();
          for (const auto& item : *items) records += item->records;
        }
      }
    }
    if (ends == 0 || (in_flight > 0 && memory[in_flight - 1]->id <= ends)) return false;
    std::size_t count = 0;
    for (; memory.size() > in_flight && memory[in_flight]->id <= ends; ++count) {
      count_dropped(full, memory[in_flight]->records);
      forget(memory.begin() + static_cast<std::ptrdiff_t>(in_flight));
    }
    if (ends > loaded_id) {
      const auto skipped = std::min(skip_on_disk, on_disk);  // these are counted already
      skip_on_disk -= skipped;
      on_disk = std::min(on_disk - skipped, on_disk_only);
      on_disk_only -= on_disk;
      loaded_id = ends;
      count += on_disk;
      count_dropped(full, records);
    }
    count_items(full, count);
    log::warn("delivery: the oldest items are dropped, there is no more room for them on disk",
              {{"destination", settings.name}, {"items", fmt::format("{}", count)}});
    const auto done = done_id();
    const auto before = journal->bytes();
    {
      const MutexUnlock meanwhile(mutex);
      journal->done(done);
    }
    disk_bytes = journal->bytes();
    return disk_bytes < before;
  }

  // False: not now.
  bool read_some() REQUIRES(mutex) {
    auto items = [&, after = loaded_id]() REQUIRES(mutex) {
      const MutexUnlock meanwhile(mutex);
      return journal->load(after);
    }();
    if (!items) {
      if (!read_failed)
        log::warn("delivery: what waits on disk cannot be read, it is tried again",
                  {{"destination", settings.name}, {"err", items.error().text}});
      read_failed = true;
      return false;
    }
    read_failed = false;
    if (items->empty()) {
      log::warn("delivery: what waited on disk is gone",
                {{"destination", settings.name}, {"items", fmt::format("{}", on_disk_only)}});
      count_items(lost, on_disk_only);
      on_disk_only = skip_on_disk = 0;
      wake_sender.notify_one();
      return true;
    }
    for (auto& item : *items) {
      loaded_id = item->id;
      if (skip_on_disk > 0) {
        --skip_on_disk;
        count_dropped(full, item->records);
        continue;
      }
      on_disk_only -= std::min<std::size_t>(on_disk_only, 1);
      remember(std::move(item));
    }
    if (on_disk_only > 0 && !memory.empty()) oldest_on_disk_ms = memory.back()->wall_ms;
    changed();
    wake_sender.notify_one();
    return true;
  }

  // The end: what is only in memory goes to disk too.
  void finish() REQUIRES(mutex) {
    if (!journal_usable) return;
    std::vector<ItemPtr> items;
    if (!settings.journal)  // else they are there already
      for (const auto& item : memory)
        if (item->id > written_id) items.push_back(item);
    const auto done = done_id();
    const bool empty = memory.empty() && on_disk_only == 0 && unwritten_only == 0;
    bool kept = true;
    {
      const MutexUnlock meanwhile(mutex);
      const auto written = items.empty() ? Result<>() : journal->append(items, true);
      kept = written.has_value();
      if (!kept)
        log::warn("delivery: what waits cannot be kept",
                  {{"destination", settings.name}, {"err", written.error().text}});
      journal->done(done);
      if (empty) journal->remove_all();
    }
    if (!kept) write_failed = true;
    else if (!items.empty()) written_id = items.back()->id;
  }

  // --- threads

  template <class F>
  bool start(const std::shared_ptr<Impl>& self, const char* name, bool& ended, F loop) REQUIRES(mutex) {
    try {
      std::thread([self, name, &ended, loop] {
        pthread_setname_np(pthread_self(), name);
        sigset_t all;  // signals are the main thread's; SIGPIPE from a receiver that closes is nobody's
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, nullptr);
        try {
          (*self.*loop)();
        } catch (const std::exception& e) {  // no memory, most likely
          log::error("delivery: a thread ended, another one is started with the next item",
                     {{"destination", self->settings.name}, {"err", e.what()}});
        }
        const MutexLock lock(self->mutex);
        // The folder is free for the next queue before anyone hears of the end; this thread may keep `self` longer.
        if (self->stopping && &ended == &self->writer_ended) self->journal.reset();
        ended = true;
        self->wake_writer.notify_all();
        self->wake_sender.notify_all();
        self->ended_changed.notify_all();
        self->wrote.notify_all();
      }).detach();
      return true;
    } catch (const std::exception& e) {  // TasksMax=, ulimit -u, no memory
      cannot_start(e.what());
      return false;
    }
  }
  void cannot_start(std::string_view why) REQUIRES(mutex) {
    if (std::exchange(no_threads, true)) return;
    log::error("delivery: no thread to be had, it is tried again with the next item",
               {{"destination", settings.name}, {"err", why}});
  }

  void start_threads(const std::shared_ptr<Impl>& self) REQUIRES(mutex) {
    if (stopping) return;
    // Without it the sending thread could not be called back from what it waits for.
    if (!stop_fd) stop_fd.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!stop_fd) return cannot_start(from_errno("eventfd", errno).text);
    if (has_writer && writer_ended && start(self, "journal", writer_ended, &Impl::write_loop)) writer_ended = false;
    if (sender_ended && start(self, "deliver", sender_ended, &Impl::send_loop)) sender_ended = false;
  }

  // push() waits for the writing thread, but not for a disk that says no, and only once for one that says nothing.
  template <class F>
  void wait_for_disk(MutexLock& lock, F done) REQUIRES(mutex) {
    if (!journal || writer_ended || slow) return;
    // Unchecked: done() says that it requires the lock of the queue that the caller has.
    const auto answered = [&]() UNCHECKED_LOCKS {
      return done() || write_failed || (recovered && !journal_usable) || writer_ended;
    };
    if (answered()) return;
    wake_writer.notify_one();
    if (wrote.wait_for_ns(lock, kPushPatience, answered)) return;
    slow = true;
    wake_sender.notify_one();
    log::warn("delivery: the disk takes longer than a second; nobody waits for it until it answers",
              {{"destination", settings.name}});
  }

  struct Unwritten {
    ItemPtr item;
    bool in_memory = false;
  };

  const QueueSettings settings;
  const std::unique_ptr<Destination> destination;  // the sending thread's
  std::unique_ptr<Journal> journal;                // the writing thread's
  const Clock& clock;
  Backoff backoff;  // the sending thread's
  Fd stop_fd;       // readable from stop() on; there before the sending thread is

  prometheus::Gauge& queued = gauge("vitald_delivery_queued", "Items that are not delivered yet.");
  prometheus::Gauge& age = gauge("vitald_delivery_oldest_age_seconds",
                                 "How long the oldest item that is not delivered waits; 0: there is none.");
  prometheus::Gauge& disk = gauge("vitald_delivery_disk_bytes", "Size of the queue's files in --state.directory.");
  prometheus::Gauge& unsaved =
      gauge("vitald_delivery_disk_failing", "1 while the disk does not take what waits: a restart would lose it.");
  prometheus::Gauge& refuses = gauge(
      "vitald_delivery_refusing",
      "1 from when the destination lost what it was sent (refused, too large, or the command for it failed) until "
      "it takes what it is sent next. Alerts about the delivery of alerts do not count.");
  prometheus::Counter& delivered_total = counter("vitald_delivery_delivered_total", "Items that the destination took.");
  prometheus::Counter& failed_total =
      counter("vitald_delivery_failed_total", "Attempts after which some items have to be tried again.");
  const Drop full{drops("full"), &QueueStats::Dropped::full, "full", "the queue is full, and this is the oldest"};
  const Drop refused{drops("refused"), &QueueStats::Dropped::refused, "refused", "refused"};
  const Drop too_large{drops("too_large"), &QueueStats::Dropped::too_large, "too_large", "it is larger than 4 MiB"};
  const Drop failed{drops("failed"), &QueueStats::Dropped::failed, "failed", "the command for it failed"};
  const Drop about_delivery{drops("about_delivery"), &QueueStats::Dropped::about_delivery, "about_delivery", "refused"};
  const Drop lost{drops("lost"), &QueueStats::Dropped::lost, "lost", "lost"};

  mutable Mutex mutex;
  CondVar wake_sender, wake_writer, wrote, ended_changed;
  std::deque<ItemPtr> memory GUARDED_BY(mutex);
  std::size_t memory_bytes GUARDED_BY(mutex) = 0, in_flight GUARDED_BY(mutex) = 0;
  std::size_t memory_records GUARDED_BY(mutex) = 0;
  std::int64_t attempt_since_ns GUARDED_BY(mutex) = 0;  // with in_flight: when it began
  std::size_t on_disk_only GUARDED_BY(mutex) = 0, skip_on_disk GUARDED_BY(mutex) = 0;
  std::size_t disk_bytes GUARDED_BY(mutex) = 0;
  std::int64_t oldest_on_disk_ms GUARDED_BY(mutex) = 0;
  std::deque<Unwritten> unwritten GUARDED_BY(mutex);
  // Of those that are not in memory.
  std::size_t unwritten_only GUARDED_BY(mutex) = 0, unwritten_only_bytes GUARDED_BY(mutex) = 0;
  std::vector<Item> early GUARDED_BY(mutex);  // came before the journal was read; they have no id yet
  std::uint64_t next_id GUARDED_BY(mutex) = 1;
  std::uint64_t loaded_id GUARDED_BY(mutex) = 0;   // up to here they are or were in memory
  std::uint64_t written_id GUARDED_BY(mutex) = 0;  // up to here they are or were on disk
  std::uint64_t writing_id GUARDED_BY(mutex) = 0;  // up to here they are being written; 0: none is
  std::uint64_t delivered GUARDED_BY(mutex) = 0;
  QueueStats::Dropped dropped GUARDED_BY(mutex);
  bool recovered GUARDED_BY(mutex), journal_usable GUARDED_BY(mutex) = false;
  bool write_failed GUARDED_BY(mutex) = false, read_failed GUARDED_BY(mutex) = false;
  bool failing GUARDED_BY(mutex) = false;
  bool refusing GUARDED_BY(mutex) = false, refusing_since_empty GUARDED_BY(mutex) = false;
  std::string problem GUARDED_BY(mutex);     // while it fails
  bool spilling GUARDED_BY(mutex) = false;   // what comes goes to disk, too
  bool drop_said GUARDED_BY(mutex) = false;  // since all was delivered last
  bool slow GUARDED_BY(mutex) = false;       // push() waited for the disk in vain: the next ones do not
  const bool has_writer;
  bool stopping GUARDED_BY(mutex) = false, no_threads GUARDED_BY(mutex) = false;
  std::chrono::steady_clock::time_point stopped_at GUARDED_BY(mutex);
  bool sender_ended GUARDED_BY(mutex) = true, writer_ended GUARDED_BY(mutex) = true;
};

prometheus::Counter& dropped_items(const std::string& data_type, const std::string& destination,
                                   const std::string& reason) {
  return instruments().counter(
      "vitald_delivery_dropped_total",
      "Items that will never be delivered: no room (full), the receiver does not want them "
      "(refused), they are too large, the command for them failed (failed), any of that with "
      "an alert about the delivery of alerts (about_delivery), or they could not be kept (lost).",
      {{"data_type", data_type}, {"destination", destination}, {"reason", reason}});
}

Queue::Queue(QueueSettings settings, std::unique_ptr<Destination> destination, std::shared_ptr<const StateDir> state,
             const Clock& clock)
    : impl_(std::make_shared<Impl>(std::move(settings), std::move(destination), std::move(state), clock)) {
  const MutexLock lock(impl_->mutex);
  impl_->changed();
  impl_->start_threads(impl_);
}

void Queue::stop() {
  const MutexLock lock(impl_->mutex);
  if (!impl_->stopping) impl_->stopped_at = std::chrono::steady_clock::now();
  impl_->stopping = true;  // before the destination is told: what it does not take for that is no failure
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(impl_->stop_fd.get(), &one, sizeof one);
  impl_->wake_sender.notify_all();
  impl_->wake_writer.notify_all();
}

std::vector<Item> Queue::end() {
  stop();
  auto& q = *impl_;
  MutexLock lock(q.mutex);
  // From when it was asked to: of several that hang, all are waited for at the same time.
  const auto left = q.stopped_at + nanoseconds(q.settings.end_patience_ns) - std::chrono::steady_clock::now();
  q.ended_changed.wait_for_ns(lock, nanoseconds(left).count(),
                              [&q]() REQUIRES(q.mutex) { return q.sender_ended && q.writer_ended; });
  q.in_flight = 0;
  if (q.waiting() + q.early.size() == 0) return {};
  std::vector<Item> rest;
  // What is on disk is there for whoever comes next, if the folder is free.
  const auto kept_until = q.journal_usable && q.writer_ended ? (q.write_failed ? q.written_id : UINT64_MAX) : 0;
  std::size_t kept = kept_until > 0 ? q.on_disk_only : 0;
  for (const auto& item : q.memory) {
    if (item->id <= kept_until) ++kept;
    else rest.push_back(*item);
  }
  for (const auto& u : q.unwritten) {
    if (u.in_memory) continue;
    if (u.item->id <= kept_until) ++kept;
    else rest.push_back(*u.item);
  }
  for (auto& item : q.early) rest.push_back(std::move(item));
  if (kept > 0)
    log::info("delivery: what waits is kept for the next start",
              {{"destination", q.settings.name}, {"items", fmt::format("{}", kept)}});
  q.memory.clear();
  q.memory_bytes = q.memory_records = 0;
  q.unwritten.clear();
  q.early.clear();
  q.unwritten_only = 0;
  return rest;
}

Queue::~Queue() {
  auto& q = *impl_;
  try {
    const auto rest = end();
    if (!rest.empty()) {
      std::uint64_t records = 0;
      for (const auto& item : rest) records += item.records;
      q.lose(rest.size(), records);
      log::warn(q.has_writer ? "delivery: what waits is lost: the disk does not take it"
                             : "delivery: what waits is lost; --state.directory would keep it",
                {{"destination", q.settings.name}, {"items", fmt::format("{}", rest.size())}});
    }
  } catch (const std::bad_alloc&) {
    log::error("delivery: out of memory for what waits, it is lost", {{"destination", q.settings.name}});
  }
  const MutexLock lock(q.mutex);
  q.queued.Set(0);
  q.age.Set(0);
  q.refuses.Set(0);
  if (q.settings.on_change) q.settings.on_change({0, 0, q.delivered, q.dropped, 0, 0, false, false, {}});
}

void Queue::push(Item item) {
  std::vector<Item> items;
  items.push_back(std::move(item));
  push(std::move(items));
}

void Queue::push(std::vector<Item> items) {
  if (items.empty()) return;
  auto& q = *impl_;
  MutexLock lock(q.mutex);
  q.start_threads(impl_);
  if (!q.recovered) q.wait_for_disk(lock, [&q]() REQUIRES(q.mutex) { return q.recovered; });
  // Faster than the disk: better to wait a little than to drop.
  q.wait_for_disk(lock,
                  [&q]() REQUIRES(q.mutex) { return q.unwritten_only_bytes <= q.settings.most_memory_bytes / 2; });
  for (auto& item : items) {
    if (q.recovered) {
      q.add(std::move(item));
      continue;
    }
    q.early.push_back(std::move(item));
    if (q.early.size() <= q.settings.most_items) continue;
    q.drop(q.early.front(), q.full);
    q.early.erase(q.early.begin());
  }
  q.changed();
  q.wake_sender.notify_one();
  q.wake_writer.notify_one();
  if (!q.settings.journal || !q.recovered) return;
  const auto last = q.next_id - 1;
  q.wait_for_disk(lock, [&q, last]() REQUIRES(q.mutex) { return q.written_id >= last || q.unwritten.empty(); });
}

void Queue::measure() {
  const MutexLock lock(impl_->mutex);
  impl_->start_threads(impl_);
  impl_->measure();
}

QueueStats Queue::stats() const {
  const MutexLock lock(impl_->mutex);
  return impl_->stats();
}

}  // namespace vitald
