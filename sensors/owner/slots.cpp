// SPDX-License-Identifier: Apache-2.0
#include "sensors/owner/slots.h"

#include <algorithm>

namespace vitald {
namespace {

constexpr std::int64_t kOneCycleNs = 10'000'000;
constexpr std::int64_t kDoubtNs = 60'000'000'000;

}  // namespace

OwnerSlots::OwnerSlots(const Host& host, OwnerTable& table, SlotMaps& maps)
    : host_(host), table_(table), maps_(maps), slots_(maps.size()) {}

void OwnerSlots::add(SlotReader& reader) {
  const std::scoped_lock lock(mutex_);
  readers_.push_back(&reader);
}

void OwnerSlots::remove(SlotReader& reader) {
  const std::scoped_lock lock(mutex_);
  std::erase(readers_, &reader);
}

void OwnerSlots::read_all(SlotReader& reader, const std::function<void()>& then) {
  const std::scoped_lock lock(mutex_);
  const auto now_ns = host_.clock().boot_ns();
  reader.read(0, kOtherOwner);
  for (std::uint32_t slot = 1; slot < slots_.size(); ++slot) {
    auto& s = slots_[slot];
    if (s.state != Slot::State::free && reader.read(slot, s.owner)) s.counted_ns = now_ns;
  }
  then();
}

std::size_t OwnerSlots::used() const {
  const std::scoped_lock lock(mutex_);
  return static_cast<std::size_t>(
      std::ranges::count_if(slots_, [](const Slot& s) { return s.state != Slot::State::free; }));
}

void OwnerSlots::cycle(std::uint64_t& had) {
  const auto now_ns = host_.clock().boot_ns();
  {
    const std::scoped_lock lock(mutex_);
    const bool again = had == cycles_ || now_ns < cycle_ns_ || now_ns - cycle_ns_ >= kOneCycleNs;
    if (again) ++cycles_;
    had = cycles_;
    if (!again) return;
    cycle_ns_ = now_ns;
    maps_.begin_cycle();
    for (std::uint32_t slot = 1; slot < slots_.size(); ++slot)
      if (slots_[slot].state == Slot::State::free && maps_.used(slot)) take(slot, now_ns);
  }
  table_.cycle(now_ns);  // not under the lock: names may take their time
  const bool room = table_.has_room();
  const std::scoped_lock lock(mutex_);
  const auto changes = table_.changes_since(owners_version_);  // a few, or none
  owners_version_ = changes.version;
  for (auto& s : slots_)
    if (s.owner != kOtherOwner && (changes.all || std::ranges::find(changes.ids, s.owner) != changes.ids.end()))
      s.owner = table_.at(s.owner)->id;
  for (std::uint32_t slot = 1; slot < slots_.size(); ++slot)
    if (slots_[slot].state != Slot::State::free && step(slot, now_ns, room)) given_back_.push_back(slot);
  if (!given_back_.empty()) maps_.give_back(given_back_);
  given_back_.clear();
}

void OwnerSlots::take(std::uint32_t slot, std::int64_t now_ns) {
  auto& s = slots_[slot];
  s.state = Slot::State::used;
  s.paths = maps_.paths(slot);
  s.owner = table_.hold(s.paths);
  s.lumped = s.owner == kOtherOwner;
  s.counted_ns = now_ns;
}

bool OwnerSlots::read(std::uint32_t slot) {
  bool any = false;
  for (auto* reader : readers_) any |= reader->read(slot, slots_[slot].owner);
  return any;
}

// True when the slot is free again.
bool OwnerSlots::step(std::uint32_t slot, std::int64_t now_ns, bool room) {
  auto& s = slots_[slot];
  switch (s.state) {
    case Slot::State::used:
      if (s.lumped && room) {  // what was counted so far stays with "other"
        read(slot);
        s.owner = table_.hold(s.paths);
        s.lumped = s.owner == kOtherOwner;
      }
      if (now_ns - s.counted_ns > kDoubtNs) {
        s.counted_ns = now_ns;
        if (maps_.removed_unseen(slot, s.paths)) s.state = Slot::State::dying;
      }
      if (maps_.dead(slot)) s.state = Slot::State::dying;
      return false;
    case Slot::State::dying:
      read(slot);
      maps_.forget(slot);
      table_.release(s.owner);
      s.owner = kOtherOwner;
      s.paths = {};
      s.state = Slot::State::given_up;
      return false;
    case Slot::State::given_up:  // a last slice of a task that was still exiting
      read(slot);
      s.state = Slot::State::free;
      return true;
    case Slot::State::free: return false;
  }
  return false;
}

}  // namespace vitald
