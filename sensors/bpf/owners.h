// SPDX-License-Identifier: Apache-2.0
// The BPF object owners: the slots of the kernel's side, for all objects that count per owner.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_set>

#include "bpf/include/vitald/owner.h"
#include "bpf/owners.skel.h"
#include "sensors/bpf/maps.h"
#include "sensors/bpf/object.h"
#include "sensors/owner/cgroups.h"
#include "sensors/owner/slots.h"

namespace vitald {

inline constexpr FlagSpec kOwnerLimitFlag{
    .name = "owner.limit",
    .type = FlagType::number,
    .fallback = "1024",
    .help = "How many cgroups and owners BPF probes follow one by one; the rest is summed up as owner=\"other\".",
    .least = 1,
    .most = 65535};

inline constexpr FlagSpec kOwnerNewFlag{
    .name = "owner.new-per-hour",
    .type = FlagType::number,
    .fallback = "500",
    .help =
        "How many new owners an hour may bring, so that a node whose cgroups come and go is no flood of series; more "
        "wait as owner=\"other\".",
    .least = 0,
    .most = 1'000'000};

inline constexpr FlagSpec kOwnerDetailedFlag{
    .name = "owner.detailed",
    .type = FlagType::number,
    .fallback = "64",
    .help =
        "Of how many cgroups at once BPF probes keep more than sums: the histograms of their waits and of their "
        "disks' requests, because of whom they waited, and the busiest tenth of a second. Takes some 1150 bytes per "
        "CPU and cgroup.",
    .least = 1,
    .most = 65535};

// Of what counts per owner.
inline constexpr FlagSpec kOwnerFlags[] = {kOwnerLimitFlag, kOwnerNewFlag, kProbeBudgetFlag};

// "/system.slice/ssh.service"; "/" for the root, and "/..." at the end of what was cut.
std::string path_text(const vitald_cgroup_path& path);

// How many of `slots` have the details.
std::uint32_t detailed_slots(const Options& options, std::uint32_t slots);

class BpfOwners {
 public:
  // The one in use with this limit, or a new one. Errors name the signal that asks.
  static Result<std::shared_ptr<BpfOwners>> of(const Host& host, const Options& options, std::string_view signal);
  BpfOwners(const Host& host, BpfObject<owners_bpf> bpf, const V1Hierarchy& v1, std::uint32_t size);

  // Gives another object, opened and not loaded, the maps and what they are configured for.
  template <class Skel>
  Result<> share_with(Skel& skel) const {
    skel.rodata->owner_slots = size_;
    skel.rodata->v1_controller = static_cast<__u32>(v1_.controller);
    skel.rodata->v1_hierarchy = v1_.id;
    const auto& mine = bpf_.skel().maps;
    const std::pair<bpf_map*, const bpf_map*> maps[] = {
        {skel.maps.owner_cpus, mine.owner_cpus}, {skel.maps.slots, mine.slots},
        {skel.maps.paths, mine.paths},           {skel.maps.slot_of, mine.slot_of},
        {skel.maps.free_slots, mine.free_slots}, {skel.maps.territories, mine.territories}};
    for (const auto& [theirs, ours] : maps)
      if (const int err = bpf_map__reuse_fd(theirs, bpf_map__fd(ours)); err != 0)
        return fail(from_errno(fmt::format("sharing the BPF map {}", bpf_map__name(ours)), -err));
    return {};
  }

  [[nodiscard]] OwnerTable& table() const { return table_; }
  [[nodiscard]] OwnerSlots& slots() { return slots_; }
  [[nodiscard]] std::uint32_t size() const { return size_; }
  // Whether it is as large as is asked for.
  [[nodiscard]] bool fits(const Options& options) const;
  [[nodiscard]] const V1Hierarchy& v1() const { return v1_; }
  [[nodiscard]] const MappedArray<vitald_owner_cpu>& cpus() const { return *maps_.cpus; }
  void watch(const KernelFacts& facts, class ProbeReport& report) const;

 private:
  struct Maps final : SlotMaps {
    Maps(const Host& host, const BpfObject<owners_bpf>& bpf, const V1Hierarchy& v1, std::uint32_t size);
    void begin_cycle() override;
    [[nodiscard]] std::uint32_t size() const override { return count; }
    [[nodiscard]] bool used(std::uint32_t slot) const override { return now_in((*slots)[slot].used) != 0; }
    [[nodiscard]] bool dead(std::uint32_t slot) const override;
    [[nodiscard]] CgroupPaths paths(std::uint32_t slot) const override;
    [[nodiscard]] bool removed_unseen(std::uint32_t slot, const CgroupPaths& paths) const override;
    bool claim(std::uint32_t slot, const Territory& territory) override;
    void belongs(std::uint32_t slot, OwnerId owner) override { (*slots)[slot].owner = owner; }
    void forget(std::uint32_t slot) override;
    void give_back(const std::vector<std::uint32_t>& done) override;

    const owners_bpf& skel;
    CgroupFolders folders;
    bool has_v1;
    std::uint32_t count;
    Result<MappedArray<vitald_owner_cpu>> cpus;
    Result<MappedArray<vitald_slot>> slots;
    // Removed cgroups of this cycle and the one before: a slot may have been begun after its cgroup's end was told.
    std::unordered_set<std::uint64_t> removed, removed_before;
    // Ids as in `removed` by slot, 0 where none: such a slot ends with that cgroup, not with the one it was begun for.
    std::vector<std::uint64_t> claimed;
    std::uint64_t missed = 0;
    bool doubt_all = false;
  };

  BpfObject<owners_bpf> bpf_;
  V1Hierarchy v1_;
  std::uint32_t size_;
  OwnerTable& table_;
  Maps maps_;
  OwnerSlots slots_;
};

}  // namespace vitald
