// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/owners.h"

#include <algorithm>

#include "core/mutex.h"
#include "sensors/bpf/report.h"

namespace vitald {
namespace {

constexpr std::uint64_t kV1Key = std::uint64_t{1} << 63;  // V1_KEY in bpf/cgroup.bpf.h

constexpr ProbeHook kHooks[] = {{"on_rmdir", "cgroup_rmdir"}};

struct OwnersInUse {
  Mutex mutex;
  std::weak_ptr<BpfOwners> last GUARDED_BY(mutex);
};

}  // namespace

std::string path_text(const vitald_cgroup_path& path) {
  if ((path.cut & 2) != 0) return "/...";  // whose it is cannot be said
  std::string text;
  std::string_view names(path.text, std::min<std::size_t>(path.size, sizeof path.text));
  while (!names.empty()) {
    const auto name = names.substr(0, names.find('\0'));
    names.remove_prefix(std::min(name.size() + 1, names.size()));
    text.append("/").append(name);
  }
  if (path.cut != 0) text.append("/...");
  return text.empty() ? "/" : text;
}

std::uint32_t detailed_slots(const Options& options, std::uint32_t slots) {
  return std::min(static_cast<std::uint32_t>(options.number(kOwnerDetailedFlag.name)), slots);
}

bool BpfOwners::fits(const Options& options) const {
  return !options.spec(kOwnerLimitFlag.name) || options.number(kOwnerLimitFlag.name) + 1 == std::int64_t{size_};
}

Result<std::shared_ptr<BpfOwners>> BpfOwners::of(const Host& host, const Options& options, std::string_view signal) {
  const auto limit = static_cast<std::uint32_t>(options.number("owner.limit"));
  auto& in_use = host.shared<OwnersInUse>();
  const MutexLock lock(in_use.mutex);
  host.shared<OwnerTable>().set_limit(limit, static_cast<std::size_t>(options.number("owner.new-per-hour")));
  if (auto last = in_use.last.lock(); last && last->size() == limit + 1) return last;

  const auto v1 = cpu_hierarchy(host);
  const auto cpus = static_cast<__u32>(libbpf_num_possible_cpus());
  const auto slots = limit + 1;
  const Signal signals[] = {{signal, 1, 0, kHooks}};
  auto bpf = BpfObject<owners_bpf>::load(
      host.shared<KernelFacts>(), signals,
      [&](owners_bpf& skel) -> Result<> {
        skel.rodata->owner_slots = slots;
        skel.rodata->v1_controller = static_cast<__u32>(v1.controller);
        skel.rodata->v1_hierarchy = v1.id;
        bpf_map__set_max_entries(skel.maps.owner_cpus, cpus);
        bpf_map__set_max_entries(skel.maps.paths, v1.id != 0 ? 2 * slots : slots);
        for (auto* map : {skel.maps.slots, skel.maps.slot_of, skel.maps.free_slots, skel.maps.territories})
          bpf_map__set_max_entries(map, slots);
        return {};
      },
      [&](owners_bpf& skel) {
        for (__u32 slot = slots - 1; slot > 0; --slot)
          bpf_map_update_elem(bpf_map__fd(skel.maps.free_slots), nullptr, &slot, 0);
      });
  if (!bpf) return fail(bpf.error());
  auto owners = std::make_shared<BpfOwners>(host, std::move(*bpf), v1, slots);
  if (!owners->maps_.cpus) return fail(owners->maps_.cpus.error());
  if (!owners->maps_.slots) return fail(owners->maps_.slots.error());
  in_use.last = owners;
  return owners;
}

BpfOwners::BpfOwners(const Host& host, BpfObject<owners_bpf> bpf, const V1Hierarchy& v1, std::uint32_t size)
    : bpf_(std::move(bpf)),
      v1_(v1),
      size_(size),
      table_(host.shared<OwnerTable>()),
      maps_(host, bpf_, v1, size),
      slots_(host, table_, maps_) {}

void BpfOwners::watch(const KernelFacts& facts, ProbeReport& report) const {
  report.watch(facts, {"owners", 1, 0, kHooks}, bpf_.skel().obj);
}

BpfOwners::Maps::Maps(const Host& host, const BpfObject<owners_bpf>& bpf, const V1Hierarchy& v1, std::uint32_t size)
    : skel(bpf.skel()),
      folders(host, v1),
      has_v1(v1.id != 0),
      count(size),
      cpus(MappedArray<vitald_owner_cpu>::of(skel.maps.owner_cpus)),
      slots(MappedArray<vitald_slot>::of(skel.maps.slots)),
      claimed(size) {}

void BpfOwners::Maps::begin_cycle() {
  std::swap(removed, removed_before);
  removed.clear();
  std::uint64_t id;
  while (bpf_map_lookup_and_delete_elem(bpf_map__fd(skel.maps.removed), nullptr, &id) == 0) removed.insert(id);
  const auto now = now_in(skel.bss->missed);
  doubt_all = now != missed;
  missed = now;
}

bool BpfOwners::Maps::dead(std::uint32_t slot) const {
  const auto& s = (*slots)[slot];
  if (const auto id = claimed[slot]; id != 0) return removed.contains(id) || removed_before.contains(id);
  if (now_in(s.dead) != 0) return true;
  if (!removed.empty() || !removed_before.empty()) {
    for (const auto id : {s.key.v2, s.key.v1 | kV1Key})
      if (removed.contains(id) || removed_before.contains(id)) return true;
  }
  return doubt_all && removed_unseen(slot, paths(slot));
}

// By a system call, once per cgroup: mapped, they would all count as our memory.
CgroupPaths BpfOwners::Maps::paths(std::uint32_t slot) const {
  CgroupPaths paths;
  vitald_cgroup_path path{};
  const auto ids = [&] {
    if ((path.cut & 2) != 0) return std::vector<std::uint64_t>{};
    return std::vector<std::uint64_t>(std::begin(path.ids), std::ranges::find(path.ids, __u64{0}));
  };
  if (bpf_map_lookup_elem(bpf_map__fd(skel.maps.paths), &slot, &path) == 0) {
    paths.v2 = path_text(path);
    paths.v2_ids = ids();
  }
  const auto v1_slot = slot + count;
  if (has_v1 && bpf_map_lookup_elem(bpf_map__fd(skel.maps.paths), &v1_slot, &path) == 0) {
    paths.v1 = path_text(path);
    paths.v1_ids = ids();
  }
  return paths;
}

bool BpfOwners::Maps::claim(std::uint32_t slot, const Territory& territory) {
  const auto id = territory.id | (territory.v1 ? kV1Key : 0);
  const vitald_territory value{slot, territory.rank};
  if (bpf_map_update_elem(bpf_map__fd(skel.maps.territories), &id, &value, BPF_ANY) != 0) return false;
  claimed[slot] = id;
  return true;
}

bool BpfOwners::Maps::removed_unseen(std::uint32_t slot, const CgroupPaths& paths) const {
  if (const auto id = claimed[slot]; id != 0) {
    std::string_view path = (id & kV1Key) != 0 ? paths.v1 : paths.v2;
    if (path.ends_with("/...")) path.remove_suffix(4);  // the place itself is known
    return ((id & kV1Key) != 0 ? folders.on_v1(path, id & ~kV1Key) : folders.on_v2(path, id)) == false;
  }
  const auto& key = (*slots)[slot].key;
  return folders.on_v2(paths.v2, key.v2) == false || (has_v1 && folders.on_v1(paths.v1, key.v1) == false);
}

void BpfOwners::Maps::forget(std::uint32_t slot) {
  auto& s = (*slots)[slot];
  const vitald_cgroup_key key = s.key;
  bpf_map_delete_elem(bpf_map__fd(skel.maps.slot_of), &key);
  if (claimed[slot] != 0) bpf_map_delete_elem(bpf_map__fd(skel.maps.territories), &claimed[slot]);
  claimed[slot] = 0;
  s.used = 0;
}

void BpfOwners::Maps::give_back(const std::vector<std::uint32_t>& done) {
  std::vector<bool> given(count);
  given[0] = true;  // CPUs remember who got no slot; now there are some again
  for (const auto slot : done) given[slot] = true;
  for (std::size_t cpu = 0; cpu < cpus->size(); ++cpu)
    for (auto& cached : (*cpus)[cpu].cache)
      if (const auto slot = now_in(cached.slot); slot < count && given[slot]) cached.key = {};
  for (const auto slot : done) bpf_map_update_elem(bpf_map__fd(skel.maps.free_slots), nullptr, &slot, 0);
}

}  // namespace vitald
