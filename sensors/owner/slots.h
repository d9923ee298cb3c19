// SPDX-License-Identifier: Apache-2.0
// The kernel's side of the owners: BPF programs count in rows, and a row's number, the slot, stands for the cgroups of
// a task. Here a slot gets its owner, and is given back when its cgroup is gone: after everybody who counts has read
// what it has counted, and one round later, when no CPU can still be charging it.
//
// Who may make cgroups of his own must not crowd out others. A container's slot claims all that is or will be below its
// cgroup. Below a unit, a pod or a folder that nobody knows each cgroup has a slot until they are a share of all slots;
// then that too is one territory, and what comes new in it is counted together, under the unit's or the pod's name. A
// cgroup that is gone within a second and did next to nothing is "other": most owners of a build farm would be such.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/mutex.h"
#include "sensors/owner/table.h"
#include "sensors/owner/totals.h"

namespace vitald {

// What the kernel keeps per slot; slot 0 is everybody who got none.
class SlotMaps {
 public:
  virtual ~SlotMaps() = default;
  virtual void begin_cycle() {}
  [[nodiscard]] virtual std::uint32_t size() const = 0;
  [[nodiscard]] virtual bool used(std::uint32_t slot) const = 0;
  [[nodiscard]] virtual bool dead(std::uint32_t slot) const = 0;
  [[nodiscard]] virtual CgroupPaths paths(std::uint32_t slot) const = 0;
  // The cgroups were removed, though nobody was told. Asked of slots that have not counted for a minute.
  [[nodiscard]] virtual bool removed_unseen(std::uint32_t slot, const CgroupPaths& paths) const = 0;
  // From now on whoever is new in or below this cgroup gets this slot, which lives as long as that one does.
  struct Territory {
    bool v1 = false;
    std::uint8_t rank = 0;
    std::uint64_t id = 0;
  };
  // False when it could not be done.
  virtual bool claim(std::uint32_t slot, const Territory& territory) = 0;
  // Whose the slot is now; kOtherOwner: nobody's of their own.
  virtual void belongs(std::uint32_t, OwnerId) {}
  virtual void forget(std::uint32_t slot) = 0;  // no task finds it any more, nor what it has claimed
  virtual void give_back(const std::vector<std::uint32_t>& slots) = 0;
};

// Who counts in rows per slot.
class SlotReader {
 public:
  virtual ~SlotReader() = default;
  // Adds what the slot has counted since it was last read to the owner. True when that was anything.
  virtual bool read(std::uint32_t slot, OwnerId owner) = 0;
  // What the slot has counted since is worth an owner of its own, however young its cgroup is.
  [[nodiscard]] virtual bool worth_an_owner(std::uint32_t slot) const = 0;
  // From now on it is told of this slot: what was counted before is not counted for whose the slot is now.
  virtual void begin(std::uint32_t) {}
  // These slots will be others' in a moment: what still names them has to be read now.
  virtual void end(std::span<const std::uint32_t>) {}
  // Behind the last read() of all readers: what readers share for these slots may be somebody else's from now on. Each
  // reader is told.
  virtual void ended(std::span<const std::uint32_t>) {}
};

// Any thread. What is done under the lock never waits, so it may be waited for.
class OwnerSlots {
 public:
  OwnerSlots(const Host& host, OwnerTable& table, SlotMaps& maps);

  // Takes slots that the kernel has begun, gives back those that are done. The readers of one cycle share one such
  // look: nothing happens when another reader's is not older than 10 ms and this one `had` an earlier one.
  void cycle(std::uint64_t& had);

  void add(SlotReader& reader);
  void remove(SlotReader& reader);
  // What was counted until now is not counted for anybody, as for a reader that has just come. `then`: under the lock.
  void restart(SlotReader& reader, const std::function<void()>& then);
  // Reads all slots for one reader; `then` sees its totals before anybody changes them.
  void read_all(SlotReader& reader, const std::function<void()>& then);
  // Under the lock that the readers are called with.
  [[nodiscard]] OwnerId of_slot(std::uint32_t slot) const UNCHECKED_LOCKS {
    return slot < slots_.size() ? slots_[slot].owner : kOtherOwner;
  }
  // Whose it was then; none when it has been nobody's since. Under the lock as well.
  [[nodiscard]] std::optional<OwnerId> of_slot_at(std::uint32_t slot, std::int64_t boot_ns) const UNCHECKED_LOCKS {
    return free_ns(slot) < boot_ns ? std::optional(of_slot(slot)) : std::nullopt;
  }
  // The same without having the lock.
  [[nodiscard]] std::optional<OwnerId> owner_at(std::uint32_t slot, std::int64_t boot_ns) const {
    const MutexLock lock(mutex_);
    return of_slot_at(slot, boot_ns);
  }
  // When the slot was nobody's for the last time; 0: it always was the same one's. Under the lock as well.
  [[nodiscard]] std::int64_t free_ns(std::uint32_t slot) const UNCHECKED_LOCKS {
    return slot < slots_.size() ? slots_[slot].free_ns : 0;
  }
  // The cgroups that a slot stands for; null where nobody has it. Under the lock as well.
  [[nodiscard]] const CgroupPaths* paths(std::uint32_t slot) const UNCHECKED_LOCKS {
    return slot < slots_.size() ? slots_[slot].paths.get() : nullptr;
  }
  [[nodiscard]] std::size_t used() const;
  // That a new cgroup can get; slot 0 is for who has none.
  [[nodiscard]] std::size_t unused() const;
  // Of these those that count as "other": young, or there is no room in the table.
  [[nodiscard]] std::size_t lumped() const;
  // Territories whose owner has made more cgroups than its share, as of now.
  [[nodiscard]] std::size_t crowded() const;

 private:
  // A cgroup's id, and whether it is one of v1.
  struct Ground {
    bool v1 = false;
    std::uint64_t id = 0;  // 0: none
    auto operator<=>(const Ground&) const = default;
  };
  // A slot is used again one round after it was given up.
  struct Slot {
    enum class State : std::uint8_t { free, used, dying, given_up };
    State state = State::free;
    bool lumped = false;  // "other" for want of room in the table, or because it is young
    std::int64_t begun_ns = 0, free_ns = 0;
    OwnerId owner = kOtherOwner;
    std::int64_t counted_ns = 0;         // when it last had
    std::unique_ptr<CgroupPaths> paths;  // while it is used: there are a thousand slots, and few are
    Ground claimed = {};                 // that is all its
    Ground counted_in = {};              // whose share it takes of
  };
  struct Group {
    std::uint32_t slots = 0;       // that count in it
    std::uint32_t claimed_by = 0;  // slot; 0: not claimed
    bool crowded = false;          // claimed because there were too many
    std::int64_t claimed_ns = 0;
  };
  void take(std::uint32_t slot, std::int64_t now_ns) REQUIRES(mutex_);
  bool claim(Slot& s, std::uint32_t slot, const OwnerPlace& place, const Ground& ground, std::int64_t now_ns)
      REQUIRES(mutex_);
  void leave(Slot& s) REQUIRES(mutex_);
  void open_again(std::int64_t now_ns) REQUIRES(mutex_);
  bool read(std::uint32_t slot) REQUIRES(mutex_);
  void step(std::uint32_t slot, std::int64_t now_ns, bool& room) REQUIRES(mutex_);
  void give(std::uint32_t slot, OwnerId owner) REQUIRES(mutex_);

  const Host& host_;
  OwnerTable& table_;
  SlotMaps& maps_;
  mutable Mutex mutex_;
  std::vector<Slot> slots_ GUARDED_BY(mutex_);
  std::map<Ground, Group> groups_ GUARDED_BY(mutex_);
  std::vector<SlotReader*> readers_ GUARDED_BY(mutex_);
  std::vector<std::uint32_t> given_back_ GUARDED_BY(mutex_);
  std::uint32_t ever_used_ GUARDED_BY(mutex_) = 1;  // slots below
  const std::int64_t began_ns_;
  std::uint64_t owners_version_ GUARDED_BY(mutex_) = 0;
  std::int64_t cycle_ns_ GUARDED_BY(mutex_) = 0;
  std::uint64_t cycles_ GUARDED_BY(mutex_) = 0;
};

// A reader whose rows are of this type, and its totals per owner. `row` gives a slot's row, all CPUs added up; `worth`
// says of what a young cgroup has counted whether it is to have an owner at once.
template <class Row>
class SlotTotals final : public SlotReader {
 public:
  using RowOf = std::function<Row(std::uint32_t slot)>;
  using Worth = bool (*)(const Row& grown);
  SlotTotals(
      OwnerSlots& slots, OwnerTable& table, RowOf row, Worth worth = [](const Row&) { return false; })
      : slots_(slots), totals_(table), row_(std::move(row)), worth_(worth) {
    slots_.add(*this);
  }
  ~SlotTotals() override { slots_.remove(*this); }
  SlotTotals(const SlotTotals&) = delete;
  SlotTotals& operator=(const SlotTotals&) = delete;

  bool read(std::uint32_t slot, OwnerId owner) override {
    if (slot >= before_.size()) before_.resize(slot + 1);  // there are a thousand slots, and the lowest are used first
    const Row now = row_(slot), grown = OwnerTotals<Row>::difference(now, before_[slot]);
    before_[slot] = now;
    totals_.add(owner, grown);
    return std::bit_cast<typename OwnerTotals<Row>::Counters>(grown) != typename OwnerTotals<Row>::Counters{};
  }
  void begin(std::uint32_t slot) override {
    if (slot >= before_.size()) before_.resize(slot + 1);
    before_[slot] = row_(slot);
  }
  [[nodiscard]] bool worth_an_owner(std::uint32_t slot) const override {
    return worth_(OwnerTotals<Row>::difference(row_(slot), slot < before_.size() ? before_[slot] : Row{}));
  }
  // `estimate` adds what is running, per slot: add_running(of_slot(slot), row).
  template <class Estimate, class Show>
  void round(Estimate&& estimate, Show&& show) {
    slots_.cycle(had_);
    slots_.read_all(*this, [&] {
      totals_.begin_round();
      estimate(totals_);
      totals_.end_round();
      show(totals_.entries());
    });
  }

 private:
  OwnerSlots& slots_;
  OwnerTotals<Row> totals_;  // guarded by the slots' lock
  RowOf row_;
  Worth worth_;
  std::vector<Row> before_;  // guarded by the slots' lock
  std::uint64_t had_ = 0;
};

}  // namespace vitald
