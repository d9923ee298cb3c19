// SPDX-License-Identifier: Apache-2.0
#include "sensors/owner/slots.h"

#include <algorithm>
#include <span>

namespace vitald {
namespace {

constexpr std::int64_t kOneCycleNs = 10'000'000;
constexpr std::int64_t kDoubtNs = 60'000'000'000;
// Of all slots, what one who may make cgroups may take before he is counted as one.
constexpr std::size_t kShares = 8, kLeastShare = 4;
// What is younger has no owner of its own yet; what there was when we began is not young.
constexpr std::int64_t kLifeNs = 1'000'000'000, kStartNs = 10'000'000'000;
// How long a territory stays closed at least, though there would be room again.
constexpr std::int64_t kClosedNs = 10'000'000'000;
// The kernel hands out the lowest free slot, so of those that nobody ever had the next ones are enough to look at; some
// are only being begun on other CPUs. All of them, in case, once in so many cycles.
constexpr std::uint32_t kAhead = 32;
constexpr std::uint64_t kAllEvery = 64;

// Those of the place itself: what is below may go while it stays. Below a folder that nobody knows each is an owner of
// its own, so those that are counted together are called as what is cut.
CgroupPaths paths_of(const CgroupPaths& paths, bool v1, std::size_t names, bool crowded) {
  const auto place = std::string(first_names(v1 ? paths.v1 : paths.v2, names)) + (crowded ? "/..." : "");
  return v1 ? CgroupPaths{"/", place} : CgroupPaths{place, {}};
}

}  // namespace

OwnerSlots::OwnerSlots(const Host& host, OwnerTable& table, SlotMaps& maps)
    : host_(host), table_(table), maps_(maps), slots_(maps.size()), began_ns_(host.clock().boot_ns()) {}

void OwnerSlots::add(SlotReader& reader) {
  const MutexLock lock(mutex_);
  // Rows outlive who reads them. A slot that nobody had yet is the same one's that will be seen to have it.
  for (std::uint32_t slot = 0; slot < ever_used_; ++slot) reader.begin(slot);
  readers_.push_back(&reader);
}

void OwnerSlots::restart(SlotReader& reader, const std::function<void()>& then) {
  const MutexLock lock(mutex_);
  for (std::uint32_t slot = 0; slot < ever_used_; ++slot) reader.begin(slot);
  then();
}

void OwnerSlots::remove(SlotReader& reader) {
  const MutexLock lock(mutex_);
  std::erase(readers_, &reader);
}

void OwnerSlots::read_all(SlotReader& reader, const std::function<void()>& then) {
  const MutexLock lock(mutex_);
  const auto now_ns = host_.clock().boot_ns();
  reader.read(0, kOtherOwner);
  for (std::uint32_t slot = 1; slot < ever_used_; ++slot) {
    auto& s = slots_[slot];
    if (s.state != Slot::State::free && reader.read(slot, s.owner)) s.counted_ns = now_ns;
  }
  then();
}

std::size_t OwnerSlots::used() const {
  const MutexLock lock(mutex_);
  return static_cast<std::size_t>(
      std::ranges::count_if(slots_, [](const Slot& s) { return s.state != Slot::State::free; }));
}

void OwnerSlots::cycle(std::uint64_t& had) {
  const auto now_ns = host_.clock().boot_ns();
  {
    const MutexLock lock(mutex_);
    const bool again = had == cycles_ || now_ns < cycle_ns_ || now_ns - cycle_ns_ >= kOneCycleNs;
    if (again) ++cycles_;
    had = cycles_;
    if (!again) return;
    cycle_ns_ = now_ns;
    maps_.begin_cycle();
    const bool all = cycles_ % kAllEvery == 0;
    for (std::uint32_t slot = 1; slot < slots_.size() && (all || slot < ever_used_ + kAhead); ++slot)
      if (slots_[slot].state == Slot::State::free && maps_.used(slot)) take(slot, now_ns);
    open_again(now_ns);
  }
  table_.cycle(now_ns);  // not under the lock: names may take their time
  bool room = table_.has_room();
  const MutexLock lock(mutex_);
  const auto changes = table_.changes_since(owners_version_);  // a few, or none
  owners_version_ = changes.version;
  for (std::uint32_t slot = 1; slot < ever_used_; ++slot) {
    const auto& s = slots_[slot];
    if (s.owner != kOtherOwner && (changes.all || std::ranges::find(changes.ids, s.owner) != changes.ids.end()))
      give(slot, table_.at(s.owner)->id);
    if (s.state == Slot::State::given_up) given_back_.push_back(slot);
  }
  if (!given_back_.empty())
    for (auto* reader : readers_) reader->end(given_back_);
  for (std::uint32_t slot = 1; slot < ever_used_; ++slot)
    if (slots_[slot].state != Slot::State::free) step(slot, now_ns, room);
  if (!given_back_.empty()) {
    for (auto* reader : readers_) reader->ended(given_back_);
    maps_.give_back(given_back_);
  }
  given_back_.clear();
}

std::size_t OwnerSlots::unused() const {
  const MutexLock lock(mutex_);
  const auto of_all = std::ranges::count_if(slots_, [](const Slot& s) { return s.state == Slot::State::free; });
  return static_cast<std::size_t>(std::max<std::ptrdiff_t>(0, of_all - 1));  // slot 0 is nobody's
}

std::size_t OwnerSlots::lumped() const {
  const MutexLock lock(mutex_);
  return static_cast<std::size_t>(std::ranges::count_if(
      std::span(slots_).first(ever_used_), [](const Slot& s) { return s.state == Slot::State::used && s.lumped; }));
}

std::size_t OwnerSlots::crowded() const {
  const MutexLock lock(mutex_);
  return static_cast<std::size_t>(std::ranges::count_if(groups_, [](const auto& g) { return g.second.crowded; }));
}

void OwnerSlots::give(std::uint32_t slot, OwnerId owner) {
  if (slots_[slot].owner == owner) return;
  slots_[slot].owner = owner;
  maps_.belongs(slot, owner);
}

void OwnerSlots::take(std::uint32_t slot, std::int64_t now_ns) {
  auto& s = slots_[slot];
  ever_used_ = std::max(ever_used_, slot + 1);
  s.state = Slot::State::used;
  s.counted_ns = now_ns;
  s.paths = std::make_unique<CgroupPaths>(maps_.paths(slot));
  OwnerPlace place;
  owner_from_paths(s.paths->v2, s.paths->v1, &place);
  const auto& ids = place.v1 ? s.paths->v1_ids : s.paths->v2_ids;
  const auto ground = [&](std::size_t names) {
    return names == 0 || names > ids.size() ? Ground{} : Ground{place.v1, ids[names - 1]};
  };
  const auto share = std::max(kLeastShare, slots_.size() / kShares);
  const auto responsible = ground(place.responsible), owned = ground(place.owned);
  if (responsible.id != 0) {
    auto& group = groups_[responsible];
    if (group.claimed_by == 0 && group.slots >= share) {
      group.crowded = true;
      if (!claim(s, slot, place, responsible, now_ns)) group.crowded = false;
    } else if (group.claimed_by != 0) {  // begun before the kernel knew
      s.state = Slot::State::dying;
      *s.paths = *slots_[group.claimed_by].paths;
    } else {
      ++group.slots;
      s.counted_in = responsible;
    }
  }
  if (owned.id != 0 && s.state == Slot::State::used && s.claimed.id == 0) {
    if (const auto it = groups_.find(owned); it != groups_.end() && it->second.claimed_by != 0) {
      s.state = Slot::State::dying;
      *s.paths = *slots_[it->second.claimed_by].paths;
    } else {
      claim(s, slot, place, owned, now_ns);
    }
  }
  s.paths->v2_ids = s.paths->v1_ids = {};
  s.begun_ns = now_ns;
  const bool young = s.state == Slot::State::used && now_ns - began_ns_ >= kStartNs && !table_.knows(*s.paths) &&
                     std::ranges::none_of(readers_, [&](const auto* r) { return r->worth_an_owner(slot); });
  give(slot, young ? kOtherOwner : table_.hold(*s.paths));
  s.lumped = s.owner == kOtherOwner;
}

bool OwnerSlots::claim(Slot& s, std::uint32_t slot, const OwnerPlace& place, const Ground& ground,
                       std::int64_t now_ns) {
  if (!maps_.claim(slot, {ground.v1, place.rank, ground.id})) return false;
  auto& group = groups_[ground];
  s.claimed = ground;
  group.claimed_by = slot;
  group.claimed_ns = now_ns;
  *s.paths = paths_of(*s.paths, place.v1, group.crowded ? place.responsible : place.owned, group.crowded);
  return true;
}

void OwnerSlots::leave(Slot& s) {
  for (const auto& ground : {s.claimed, s.counted_in}) {
    const auto it = groups_.find(ground);
    if (it == groups_.end()) continue;
    auto& group = it->second;
    if (ground == s.claimed) group.claimed_by = 0, group.crowded = false;
    else --group.slots;
    if (group.slots == 0 && group.claimed_by == 0) groups_.erase(it);
  }
  s.claimed = s.counted_in = {};
}

// Where those that have slots of their own have become few, others may have theirs again.
void OwnerSlots::open_again(std::int64_t now_ns) {
  const auto share = std::max(kLeastShare, slots_.size() / kShares);
  for (const auto& [ground, group] : groups_) {
    auto& s = slots_[group.claimed_by];
    if (group.crowded && group.slots < share / 2 && now_ns - group.claimed_ns >= kClosedNs &&
        s.state == Slot::State::used)
      s.state = Slot::State::dying;
  }
}

bool OwnerSlots::read(std::uint32_t slot) {
  bool any = false;
  for (auto* reader : readers_) any |= reader->read(slot, slots_[slot].owner);
  return any;
}

void OwnerSlots::step(std::uint32_t slot, std::int64_t now_ns, bool& room) {
  auto& s = slots_[slot];
  switch (s.state) {
    case Slot::State::used:
      if (now_ns - s.counted_ns > kDoubtNs) {
        s.counted_ns = now_ns;
        if (maps_.removed_unseen(slot, *s.paths)) s.state = Slot::State::dying;
      }
      if (maps_.dead(slot)) s.state = Slot::State::dying;
      if (s.state == Slot::State::used && s.lumped && room && now_ns - s.begun_ns >= kLifeNs) {
        read(slot);  // what was counted so far stays with "other"
        give(slot, table_.hold(*s.paths));
        room = !(s.lumped = s.owner == kOtherOwner);
      }
      return;
    case Slot::State::dying:
      read(slot);
      maps_.forget(slot);
      leave(s);
      table_.release(s.owner);
      s.state = Slot::State::given_up;
      return;
    case Slot::State::given_up:  // a last slice of a task that was still exiting, or that a CPU still knows by this
                                 // slot
      read(slot);
      give(slot, kOtherOwner);
      s.paths.reset();
      s.state = Slot::State::free;
      s.free_ns = now_ns;
      return;
    case Slot::State::free: return;
  }
}

}  // namespace vitald
