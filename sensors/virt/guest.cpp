// SPDX-License-Identifier: Apache-2.0
#include "sensors/virt/guest.h"

#include <libvirt/libvirt.h>

#include <optional>

#include "core/text/scan.h"

namespace vitald::virt {
namespace {

// What is beyond is no index of a vCPU, disk or interface.
constexpr std::size_t kMaxItems = kMaxVcpus;
constexpr double kAllOnes = 18446744073709551615.0, kAllOnesInKiB = kAllOnes / 1024;

template <const auto& Rows>
void store(Numbers<Rows>& numbers, std::string_view key, double value) {
  for (std::size_t i = 0; i < std::size(Rows); ++i)
    if (Rows[i].key == key) numbers.values[i] = value;  // two rows may have one key
}

// "3.rd.bytes" -> items[3] and "rd.bytes"; null when there is no index.
template <class Item>
Item* item(std::vector<Item>& items, std::string_view& key) {
  const auto index = take_u64(key);
  if (!index || *index >= kMaxItems || !take_prefix(key, ".")) return nullptr;
  if (items.size() <= *index) items.resize(*index + 1);
  return &items[*index];
}

// "io_exits.sum" of a vCPU, "exits.sum" of all kinds.
void store_exits(Vcpu& vcpu, std::string_view key, double value) {
  if (key == "exits.sum") vcpu.exits = value;
  if (key == "hypercalls.sum") key = "hypercall_exits.sum";
  for (std::size_t i = 0; i < std::size(kExitKinds); ++i)
    if (auto rest = key; take_prefix(rest, kExitKinds[i]) && rest == "_exits.sum") vcpu.exit_kinds[i] = value;
}

// "0.node.1.bytes.local", after "memory.bandwidth.monitor.".
void store_bandwidth(std::vector<BandwidthMonitor>& monitors, std::string_view key, double value) {
  auto* monitor = item(monitors, key);
  if (!monitor || !take_prefix(key, "node.")) return;
  auto* node = item(monitor->nodes, key);
  if (!node) return;
  if (key == "id") node->id = value;
  if (key == "bytes.local") node->local_bytes = value;
  if (key == "bytes.total") node->total_bytes = value;
}

template <class Item>
void count(std::vector<Item>& items, double n) {
  if (n >= 0 && n < static_cast<double>(kMaxItems)) items.resize(static_cast<std::size_t>(n));
}

}  // namespace

void Guest::forget(unsigned groups) {
  const auto domain = [&](std::string_view prefix) {
    for (std::size_t i = 0; i < std::size(kDomainRows); ++i)
      if (kDomainRows[i].key.starts_with(prefix)) numbers.values[i] = kNone;
  };
  if (groups & VIR_DOMAIN_STATS_STATE) domain("state.");
  if (groups & VIR_DOMAIN_STATS_CPU_TOTAL) domain("cpu.");
  if (groups & VIR_DOMAIN_STATS_DIRTYRATE) domain("dirtyrate.");
  if (groups & VIR_DOMAIN_STATS_PERF) perf.clear();
  if (groups & VIR_DOMAIN_STATS_IOTHREAD) iothreads.clear();
  if (groups & VIR_DOMAIN_STATS_MEMORY) bandwidth.clear();
  if (groups & VIR_DOMAIN_STATS_VM) pages.fill(kNone);
  if (groups & VIR_DOMAIN_STATS_BALLOON) domain("balloon."), told = false;
  if (groups & VIR_DOMAIN_STATS_VCPU) domain("vcpu."), vcpus.clear();
  if (groups & VIR_DOMAIN_STATS_BLOCK)
    for (auto& b : blocks) b = {};
  if (groups & VIR_DOMAIN_STATS_INTERFACE)
    for (auto& n : nets) n = {};
}

// Keys are those of virDomainListGetStats, src/libvirt-domain.c.
void Guest::take(std::string_view key, double value) {
  // -1 and all ones: the hypervisor does not tell.
  if (value < 0 || value >= kAllOnes) return;
  auto rest = key;
  if (take_prefix(rest, "vcpu.")) {
    if (auto* vcpu = item(vcpus, rest)) store(vcpu->numbers, rest, value), store_exits(*vcpu, rest, value);
    else store(numbers, key, value);
  } else if (take_prefix(rest, "block.")) {
    if (rest == "count") count(blocks, value);
    else if (auto* block = item(blocks, rest)) store(block->numbers, rest, value);
  } else if (take_prefix(rest, "net.")) {
    if (rest == "count") count(nets, value);
    else if (auto* net = item(nets, rest)) store(net->numbers, rest, value);
  } else if (take_prefix(rest, "perf.")) {
    perf.insert_or_assign(std::string(rest), value);
  } else if (take_prefix(rest, "iothread.")) {
    if (auto* thread = item(iothreads, rest); thread && rest == "poll-max-ns") thread->poll_max_ns = value;
  } else if (take_prefix(rest, "memory.bandwidth.monitor.")) {
    store_bandwidth(bandwidth, rest, value);
  } else if (take_prefix(rest, "vm.pages_")) {
    for (std::size_t i = 0; i < std::size(kPageSizes); ++i)
      if (auto size = rest; take_prefix(size, kPageSizes[i]) && size == ".cur") pages[i] = value;
  } else {
    // While a guest is busy libvirtd leaves out what it would have to ask its hypervisor for. What it knows itself
    // (balloon.current, of an event) and what a cgroup says (cpu.time) is there all the same.
    if (key == "balloon.rss") told = ever_told = true;
    // Never told is not 1970.
    if (key == "balloon.last-update" && value == 0) return;
    // QEMU's word for what the guest does not tell is all ones, in bytes; libvirt has them in KiB.
    if (key.starts_with("balloon.") && value >= kAllOnesInKiB) return;
    store(numbers, key, value);
  }
}

void Guest::take(std::string_view key, std::string_view text) {
  if (take_prefix(key, "block.")) {
    if (auto* block = item(blocks, key); block && key == "name") block->name = text;
  } else if (take_prefix(key, "net.")) {
    if (auto* net = item(nets, key); net && key == "name") net->name = text;
  } else if (take_prefix(key, "memory.bandwidth.monitor.")) {
    if (auto* monitor = item(bandwidth, key); monitor && key == "name") monitor->name = text;
  }
}

}  // namespace vitald::virt
