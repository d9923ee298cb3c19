// SPDX-License-Identifier: Apache-2.0
#include "sensors/virt/inventory.h"

#include <fmt/format.h>

#include <cstdlib>

namespace vitald::virt {
namespace {

// 9000000 + 22 is 9.0.22; none when it could not be asked.
std::string version_text(unsigned long v) {
  return v == 0 ? std::string() : fmt::format("{}.{}.{}", v / 1'000'000, v / 1000 % 1000, v % 1000);
}

// What a call of virConnectListAll... gave: a list that is to be freed, of objects that are.
template <class T, class Free, class Each>
void each_of(T* list, int count, Free&& free_one, Each&& each) {
  for (int i = 0; i < count; ++i) {
    each(list[i]);
    free_one(list[i]);
  }
  if (count >= 0) std::free(list);
}

void ask_versions(const Library& lib, virConnectPtr c, Findings& out) {
  unsigned long hypervisor = 0, daemon = 0, mine = 0;
  lib.virGetVersion(&mine, nullptr, nullptr);
  lib.virConnectGetLibVersion(c, &daemon);
  lib.virConnectGetVersion(c, &hypervisor);
  out.hypervisor = version_text(hypervisor);
  out.daemon = version_text(daemon);
  out.mine = version_text(mine);
}

// Never refreshed: that would read every volume of the pool.
void ask_pools(const Library& lib, virConnectPtr c, Findings& out) {
  virStoragePoolPtr* list = nullptr;
  const int count = lib.virConnectListAllStoragePools(c, &list, 0);
  each_of(list, count, lib.virStoragePoolFree, [&](virStoragePoolPtr p) {
    const char* name = lib.virStoragePoolGetName(p);
    if (!name) return;
    Pool pool;
    pool.name = name;
    virStoragePoolInfo info = {};
    if (lib.virStoragePoolGetInfo(p, &info) == 0) {
      pool.state = info.state;
      pool.capacity_bytes = static_cast<double>(info.capacity);
      pool.allocation_bytes = static_cast<double>(info.allocation);
      pool.available_bytes = static_cast<double>(info.available);
      pool.told = true;
    }
    out.pools.push_back(std::move(pool));
  });
}

void ask_networks(const Library& lib, virConnectPtr c, Findings& out) {
  virNetworkPtr* list = nullptr;
  const int count = lib.virConnectListAllNetworks(c, &list, 0);
  each_of(list, count, lib.virNetworkFree, [&](virNetworkPtr n) {
    const char* name = lib.virNetworkGetName(n);
    if (!name) return;
    Network network;
    network.name = name;
    network.active = lib.virNetworkIsActive(n) == 1;
    if (char* bridge = lib.virNetworkGetBridgeName(n)) {  // null: it has none of its own (macvtap, hostdev)
      network.bridge = bridge;
      std::free(bridge);
    }
    out.networks.push_back(std::move(network));
  });
}

void ask_jobs(const Library& lib, virConnectPtr c, Findings& out) {
  virDomainPtr* list = nullptr;
  const int count = lib.virConnectListAllDomains(c, &list, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
  each_of(list, count, lib.virDomainFree, [&](virDomainPtr d) {
    Job job;
    char uuid[VIR_UUID_STRING_BUFLEN];
    const char* name = lib.virDomainGetName(d);
    if (!name || lib.virDomainGetUUIDString(d, uuid) != 0) return;
    if (lib.virDomainGetJobInfo(d, &job.info) != 0) return;  // it went away, or the hypervisor has no jobs
    job.domain = name;
    job.uuid = uuid;
    out.jobs.push_back(std::move(job));
  });
}

}  // namespace

void Inventory::ask(const Library& lib, const Connection::Handle& handle, bool all, bool jobs, std::int64_t now_ns) {
  findings(now_ns);  // takes what a round that ended has found
  if (asking_) return;
  if (thread_.joinable()) thread_.join();
  auto round = std::make_shared<Round>();
  if (last_) round->found = last_->found;
  asking_ = round;
  asking_since_ns_ = now_ns;
  thread_ = std::thread([&lib, handle, round, all, jobs] {
    auto& found = round->found;
    if (all) {
      found.pools.clear();
      found.networks.clear();
      found.node_known = lib.virNodeGetInfo(handle.get(), &found.node) == 0;
      ask_pools(lib, handle.get(), found);
      ask_networks(lib, handle.get(), found);
    }
    if (jobs) {
      found.jobs.clear();  // else those of the last round stay
      ask_jobs(lib, handle.get(), found);
    }
    // Last: where QEMU's capabilities are not cached, libvirtd starts every emulator there is, which takes 4 s.
    if (found.mine.empty()) ask_versions(lib, handle.get(), found);
    round->done.store(true, std::memory_order_release);
  });
}

const Findings* Inventory::findings(std::int64_t now_ns) {
  if (asking_ && asking_->done.load(std::memory_order_acquire)) last_ = std::exchange(asking_, nullptr);
  if (asking_ && now_ns - asking_since_ns_ > kTooLongNs) return nullptr;
  return last_ ? &last_->found : nullptr;
}

void Inventory::forget() {
  const bool waits = asking_ && !asking_->done.load(std::memory_order_acquire);
  if (thread_.joinable()) {
    if (waits) thread_.detach();
    else thread_.join();
  }
  asking_ = last_ = nullptr;
}

}  // namespace vitald::virt
