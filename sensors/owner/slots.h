// SPDX-License-Identifier: Apache-2.0
// The kernel's side of the owners: BPF programs count in rows, and a row's number, the slot, stands for the cgroups of
// a task. Here a slot gets its owner, and is given back when its cgroup is gone: after everybody who counts has read
// what it has counted, and one round later, when no CPU can still be charging it.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

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
  virtual void forget(std::uint32_t slot) = 0;  // no task finds it any more
  virtual void give_back(const std::vector<std::uint32_t>& slots) = 0;
};

// Who counts in rows per slot.
class SlotReader {
 public:
  virtual ~SlotReader() = default;
  // Adds what the slot has counted since it was last read to the owner. True when that was anything.
  virtual bool read(std::uint32_t slot, OwnerId owner) = 0;
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
  // Reads all slots for one reader; `then` sees its totals before anybody changes them.
  void read_all(SlotReader& reader, const std::function<void()>& then);
  // Under the lock that the readers are called with.
  [[nodiscard]] OwnerId of_slot(std::uint32_t slot) const {
    return slot < slots_.size() ? slots_[slot].owner : kOtherOwner;
  }
  [[nodiscard]] std::size_t used() const;

 private:
  // A slot is used again one round after it was given up.
  struct Slot {
    enum class State : std::uint8_t { free, used, dying, given_up };
    State state = State::free;
    bool lumped = false;  // "other" for want of room in the table
    OwnerId owner = kOtherOwner;
    std::int64_t counted_ns = 0;  // when it last had
    CgroupPaths paths;            // while it is used
  };
  void take(std::uint32_t slot, std::int64_t now_ns);
  bool read(std::uint32_t slot);
  bool step(std::uint32_t slot, std::int64_t now_ns, bool room);

  const Host& host_;
  OwnerTable& table_;
  SlotMaps& maps_;
  mutable std::mutex mutex_;
  // All guarded by mutex_.
  std::vector<Slot> slots_;
  std::vector<SlotReader*> readers_;
  std::vector<std::uint32_t> given_back_;
  std::uint64_t owners_version_ = 0;
  std::int64_t cycle_ns_ = 0;
  std::uint64_t cycles_ = 0;
};

// A reader whose rows are of this type, and its totals per owner. `row` gives a slot's row, all CPUs added up.
template <class Row>
class SlotTotals final : public SlotReader {
 public:
  using RowOf = std::function<Row(std::uint32_t slot)>;
  SlotTotals(OwnerSlots& slots, OwnerTable& table, std::uint32_t size, RowOf row)
      : slots_(slots), totals_(table), row_(std::move(row)), before_(size) {
    slots_.add(*this);
  }
  ~SlotTotals() override { slots_.remove(*this); }
  SlotTotals(const SlotTotals&) = delete;
  SlotTotals& operator=(const SlotTotals&) = delete;

  bool read(std::uint32_t slot, OwnerId owner) override {
    const Row now = row_(slot), grown = OwnerTotals<Row>::difference(now, before_[slot]);
    before_[slot] = now;
    totals_.add(owner, grown);
    return std::bit_cast<typename OwnerTotals<Row>::Counters>(grown) != typename OwnerTotals<Row>::Counters{};
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
  std::vector<Row> before_;  // guarded by the slots' lock
  std::uint64_t had_ = 0;
};

}  // namespace vitald
