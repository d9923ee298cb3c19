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
  if (groups & VIR_DOMAIN_STATS_BALLOON) domain("balloon.");
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
    if (auto* vcpu = item(vcpus, rest)) store(vcpu->numbers, rest, value);
    else store(numbers, key, value);
  } else if (take_prefix(rest, "block.")) {
    if (rest == "count") count(blocks, value);
    else if (auto* block = item(blocks, rest)) store(block->numbers, rest, value);
  } else if (take_prefix(rest, "net.")) {
    if (rest == "count") count(nets, value);
    else if (auto* net = item(nets, rest)) store(net->numbers, rest, value);
  } else {
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
  }
}

}  // namespace vitald::virt
