// SPDX-License-Identifier: Apache-2.0
#include "sensors/owner/table.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "core/text/utf8.h"
#include "sensors/owner/hierarchy.h"

namespace vitald {
namespace {

// A unit that restarts goes on counting, and a container's last values are read.
constexpr std::int64_t kKeepNs = 300'000'000'000;
// Names that are looked up: how long after the owner was first seen, and until a container without one is taken for
// its pod's sandbox.
constexpr std::int64_t kNamesMayComeNs = 60'000'000'000, kSandboxNs = 10'000'000'000;
constexpr std::size_t kChangesKept = 1024;
constexpr std::int64_t kOneCycleNs = 10'000'000;
// Who was told of an owner asks again within this time.
constexpr std::int64_t kForgetNs = 900'000'000'000;

constexpr std::int64_t kStartNs = 10'000'000'000, kHourNs = 3'600'000'000'000;
constexpr std::size_t kForgottenKept = 4096;

OwnerPtr named(OwnerId id, Owner owner) {
  auto n = std::make_shared<NamedOwner>();
  n->id = id;
  n->owner = std::move(owner);
  n->labels = owner_labels(n->owner);
  return n;
}

// What is shown is what owners are told apart by: names are any bytes to the kernel, and two that differ in bytes that
// are no text would be one name, of which the second's numbers are dropped. Where somebody else is called so already
// they are one owner, whose numbers are added up.
void make_text(Owner& owner) {
  for (auto* name : {&owner.name, &owner.namespace_, &owner.pod, &owner.container, &owner.guest})
    if (!is_valid_utf8(*name)) *name = escaped_utf8(*name);
}

}  // namespace

OwnerTable::OwnerTable(const Host& host) : host_(host), v1_(cpu_hierarchy(host)), began_ns_(host.clock().boot_ns()) {
  Owner other;
  other.kind = OwnerKind::other;
  other.name = "other";
  other_ = named(kOtherOwner, std::move(other));
}

void OwnerTable::set_limit(std::size_t limit, std::size_t new_per_hour) {
  const MutexLock lock(mutex_);
  limit_ = limit;
  if (new_per_hour_ == new_per_hour) return;
  new_per_hour_ = new_per_hour;
  may_come_ = static_cast<double>(new_per_hour);
  may_come_ns_ = host_.clock().boot_ns();
}

bool OwnerTable::knows(const CgroupPaths& paths) {
  const MutexLock lock(mutex_);
  return called(paths).found != by_name_.end();
}

double OwnerTable::may_come(std::int64_t now_ns) const {
  const auto per_hour = static_cast<double>(new_per_hour_);
  return std::min(per_hour,
                  may_come_ + per_hour * static_cast<double>(now_ns - may_come_ns_) / static_cast<double>(kHourNs));
}

OwnerId OwnerTable::of_paths(const CgroupPaths& paths) {
  const MutexLock lock(mutex_);
  return find_or_make(paths, host_.clock().boot_ns());
}

OwnerId OwnerTable::hold(const CgroupPaths& paths) {
  const MutexLock lock(mutex_);
  const auto id = find_or_make(paths, host_.clock().boot_ns());
  if (id != kOtherOwner) ++owners_.at(id).holders;
  return id;
}

void OwnerTable::release(OwnerId id) {
  const MutexLock lock(mutex_);
  const auto it = owners_.find(now_of(id));
  if (it == owners_.end() || it->second.holders == 0) return;
  if (--it->second.holders == 0) it->second.idle_since_ns = host_.clock().boot_ns();
}

// "0::/system.slice/ssh.service", on v1 "2:cpu,cpuacct:/user.slice".
OwnerId OwnerTable::of_pid(pid_t pid) {
  const auto text = read_kernel_file(host_.procfs(fmt::format("{}/cgroup", pid)), KernelFile::Read::records);
  if (!text) return kOtherOwner;
  CgroupPaths paths;
  std::string_view rest = *text;
  while (!rest.empty()) {
    auto line = take_line(rest);
    const auto number = parse_int<int>(take_until(line, ':'));
    take_until(line, ':');
    if (number == 0) paths.v2 = line;
    else if (v1_.id != 0 && number == v1_.id) paths.v1 = line;
  }
  return of_paths(paths);
}

OwnerPtr OwnerTable::at(OwnerId id) const {
  const MutexLock lock(mutex_);
  const auto it = owners_.find(now_of(id));
  return it == owners_.end() ? other_ : it->second.named;
}

OwnerTable::Changes OwnerTable::changes_since(std::uint64_t version) const {
  const MutexLock lock(mutex_);
  Changes c{version_, version == 0 || version_ - version > changes_.size(), {}};
  if (!c.all) c.ids.assign(changes_.end() - static_cast<std::ptrdiff_t>(version_ - version), changes_.end());
  return c;
}

void OwnerTable::changed(OwnerId id) {
  ++version_;
  changes_.push_back(id);
  if (changes_.size() > kChangesKept) changes_.pop_front();
}

bool OwnerTable::has_room() const {
  const MutexLock lock(mutex_);
  if (may_come(host_.clock().boot_ns()) < 1) return false;
  return owners_.size() < limit_ || std::ranges::any_of(owners_, [](const auto& o) { return o.second.holders == 0; });
}

OwnerTable::Stats OwnerTable::stats() const {
  const MutexLock lock(mutex_);
  return {owners_.size(), turned_away_};
}

OwnerId OwnerTable::now_of(OwnerId id) const {
  for (auto it = gone_.find(id); it != gone_.end(); it = gone_.find(id)) id = it->second.instead;
  return id;
}

OwnerTable::Called OwnerTable::called(const CgroupPaths& paths) {
  Called c;
  c.by_path = owner_from_paths(paths.v2, paths.v1);
  c.owner = c.by_path;
  c.complete = resolver_.name(c.owner, false);
  c.provisional = !c.complete && c.owner.kind == OwnerKind::guest;
  // Whoever runs the unit may have called it like one of the host's, and may come before that one or after it.
  if (!c.owner.within.empty()) c.owner.name += " in " + c.owner.within;
  make_text(c.owner);
  c.found = by_name_.find(key_of(c.owner, c.provisional));
  if (c.owner.manager.empty()) return c;
  // The first of a name has it, also when others come and go: those are called by their manager, too.
  auto apart = c.owner;
  apart.name += " of " + apart.manager;
  const auto found = by_name_.find(key_of(apart, c.provisional));
  const bool taken = c.found != by_name_.end() && owners_.at(c.found->second).by_path.manager != c.owner.manager;
  if (found == by_name_.end() && !taken) return c;
  c.owner = std::move(apart);
  c.found = found;
  return c;
}

OwnerId OwnerTable::find_or_make(const CgroupPaths& paths, std::int64_t now_ns) {
  auto c = called(paths);
  if (c.found != by_name_.end()) {
    owners_.at(c.found->second).idle_since_ns = now_ns;
    return c.found->second;
  }
  const auto forgotten = forgotten_.find(key_of(c.owner, c.provisional));
  const bool at_start = now_ns - began_ns_ < kStartNs && next_ <= limit_;
  const bool is_new = forgotten == forgotten_.end() && !at_start;
  if (owners_.size() >= limit_) drop_idle(now_ns, 0);
  const auto may = may_come(now_ns);
  if (owners_.size() >= limit_ || (is_new && may < 1)) {
    ++turned_away_;
    return kOtherOwner;
  }
  if (is_new) {
    may_come_ = may - 1;
    may_come_ns_ = now_ns;
  }
  if (forgotten != forgotten_.end()) forgotten_.erase(forgotten);
  const auto id = next_++;
  auto& entry = owners_[id];
  entry.by_path = std::move(c.by_path);
  entry.made_ns = entry.idle_since_ns = now_ns;
  entry.name_may_come = !c.complete;
  if (!c.complete) unnamed_.push_back(id);
  call(entry, id, std::move(c.owner), c.provisional);
  return id;
}

OwnerTable::Key OwnerTable::key_of(const Owner& owner, bool provisional) {
  return {owner.kind, provisional ? owner.name + '\n' + owner.guest_id : owner.name};
}

void OwnerTable::call(Entry& entry, OwnerId id, Owner owner, bool provisional) {
  if (entry.named) by_name_.erase(key_of(entry.named->owner, entry.provisional));
  by_name_[key_of(owner, provisional)] = id;
  entry.provisional = provisional;
  entry.named = named(id, std::move(owner));
  changed(id);
}

void OwnerTable::name_again(OwnerId id, std::int64_t now_ns) {
  auto& entry = owners_.at(id);
  auto owner = entry.by_path;
  const auto age_ns = now_ns - entry.made_ns;
  entry.name_may_come = !resolver_.name(owner, age_ns >= kSandboxNs) && age_ns < kNamesMayComeNs;
  make_text(owner);
  if (owner == entry.named->owner && !entry.provisional) return;
  const auto same = by_name_.find(key_of(owner, false));
  if (same == by_name_.end() || same->second == id) return call(entry, id, std::move(owner), false);
  auto& into = owners_.at(same->second);
  into.holders += entry.holders;
  into.idle_since_ns = now_ns;
  forget(id, same->second, now_ns);
}

void OwnerTable::cycle(std::int64_t now_ns) {
  if (reading_.try_lock()) {
    const MutexLock alone(reading_, std::adopt_lock);
    const auto wanted = [&] {
      const MutexLock lock(mutex_);
      return resolver_.wanted(now_ns);
    }();
    if (!wanted.nothing()) {
      auto names = OwnerResolver::read(host_, wanted);
      const MutexLock lock(mutex_);
      resolver_.take(std::move(names), wanted);
      name_unnamed(now_ns);
    }
  }
  const MutexLock lock(mutex_);
  if (cycle_ns_ != 0 && now_ns >= cycle_ns_ && now_ns - cycle_ns_ < kOneCycleNs) return;
  cycle_ns_ = now_ns;
  name_unnamed(now_ns);
  drop_idle(now_ns, kKeepNs);
  std::erase_if(gone_, [&](const auto& g) { return now_ns - g.second.since_ns > kForgetNs; });
  std::erase_if(forgotten_, [&](const auto& f) { return now_ns - f.second > kHourNs; });
}

void OwnerTable::name_unnamed(std::int64_t now_ns) {
  std::erase_if(unnamed_, [&](OwnerId id) REQUIRES(mutex_) {
    if (!owners_.contains(id)) return true;
    name_again(id, now_ns);
    const auto it = owners_.find(id);
    return it == owners_.end() || !it->second.name_may_come;
  });
}

void OwnerTable::drop_idle(std::int64_t now_ns, std::int64_t keep_ns) {
  for (auto it = owners_.begin(); it != owners_.end();) {
    const auto& [id, entry] = *it++;
    if (entry.holders == 0 && now_ns - entry.idle_since_ns >= keep_ns) forget(id, kOtherOwner, now_ns);
  }
}

void OwnerTable::forget(OwnerId id, OwnerId instead, std::int64_t now_ns) {
  const auto it = owners_.find(id);
  const auto& entry = it->second;
  if (const auto name = by_name_.find(key_of(entry.named->owner, entry.provisional));
      name != by_name_.end() && name->second == id)
    by_name_.erase(name);
  if (instead == kOtherOwner && forgotten_.size() < kForgottenKept)
    forgotten_[key_of(entry.named->owner, entry.provisional)] = now_ns;
  owners_.erase(it);
  gone_[id] = {instead, now_ns};
  changed(id);
}

}  // namespace vitald
