// SPDX-License-Identifier: Apache-2.0
// What follows from libvirt's numbers of each guest: how fast its memory grows, as a rate and as an angle, and what all
// its disks and interfaces did together, with those that were unplugged.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <numbers>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/deriver.h"
#include "core/layout_map.h"

namespace vitald {
namespace {

constexpr std::string_view kGuest = "domain,uuid";
constexpr MetricDesc kMemoryChange{
    "vitald_guest_memory_change_bytes_per_second",
    MetricType::gauge,
    "How fast the memory given to the guest grows, between the last two times libvirt was asked for it "
    "(--collector.libvirt.slow-interval).",
    kGuest,
    "",
    "libvirt"};
constexpr MetricDesc kMemoryTrend{
    "vitald_guest_memory_trend_degrees",
    MetricType::gauge,
    "The same as an angle: the arc tangent of KiB a second, from -90 to 90; for pages that draw it.",
    kGuest,
    "",
    "libvirt"};
constexpr MetricDesc kReadings{
    "vitald_guest_readings_total", MetricType::counter, "How often the guests were read.", "", "", "vitald"};

// What is summed over a guest's devices.
struct Sum {
  std::string_view of;  // the family per device
  bool disk;
  MetricDesc desc;
};
constexpr MetricDesc sum(std::string_view name, std::string_view unit, std::string_view help) {
  return {name, MetricType::counter, help, kGuest, unit, "libvirt"};
}
constexpr Sum kSums[] = {
    {"libvirt_domain_block_stats_read_bytes_total", true,
     sum("vitald_guest_disk_read_bytes_total", "bytes",
         "Bytes that the guest read from all its disks, with those that are unplugged by now.")},
    {"libvirt_domain_block_stats_write_bytes_total", true,
     sum("vitald_guest_disk_written_bytes_total", "bytes", "Bytes that the guest wrote to all its disks.")},
    {"libvirt_domain_block_stats_read_requests_total", true,
     sum("vitald_guest_disk_reads_total", "", "Reads of the guest from all its disks.")},
    {"libvirt_domain_block_stats_write_requests_total", true,
     sum("vitald_guest_disk_writes_total", "", "Writes of the guest to all its disks.")},
    {"libvirt_domain_interface_stats_receive_bytes_total", false,
     sum("vitald_guest_network_receive_bytes_total", "bytes", "Bytes that the guest received on all its interfaces.")},
    {"libvirt_domain_interface_stats_transmit_bytes_total", false,
     sum("vitald_guest_network_transmit_bytes_total", "bytes", "Bytes that the guest sent on all its interfaces.")},
    {"libvirt_domain_interface_stats_receive_packets_total", false,
     sum("vitald_guest_network_receive_packets_total", "", "Packets that the guest received on all its interfaces.")},
    {"libvirt_domain_interface_stats_transmit_packets_total", false,
     sum("vitald_guest_network_transmit_packets_total", "", "Packets that the guest sent on all its interfaces.")},
};
constexpr std::size_t kSumCount = std::size(kSums);

constexpr auto kMetrics = [] {
  std::array<MetricDesc, kSumCount + 3> out{};
  out[0] = kReadings;
  out[1] = kMemoryChange;
  out[2] = kMemoryTrend;
  for (std::size_t i = 0; i < kSumCount; ++i) out[i + 3] = kSums[i].desc;
  return out;
}();

// How long a guest that is not seen is remembered: one that is busy, or a libvirtd that starts again.
constexpr std::int64_t kRememberNs = 600'000'000'000;
constexpr std::uint32_t kNowhere = std::numeric_limits<std::uint32_t>::max();

// Where libvirt's layout has what is wanted of a guest that runs.
struct DevicePlan {
  std::string name;
  std::array<std::uint32_t, kSumCount> values;
};
struct GuestPlan {
  std::string name, uuid;
  std::uint32_t id = kNowhere, memory = kNowhere;
  std::vector<DevicePlan> devices;
};
struct Plan {
  std::uint32_t up = kNowhere, read_at = kNowhere;
  std::vector<GuestPlan> guests;
};

std::string_view label(const Sample& s, std::string_view name) {
  for (const auto& l : Layout::labels(s))
    if (l.name == name) return l.value;
  return {};
}

Plan plan_of(const Layout& layout) {
  Plan plan;
  std::map<std::string_view, std::size_t> by_name;
  for (const auto& s : layout.samples()) {
    const auto name = s.family->name;
    if (name == "libvirt_up") plan.up = s.value;
    if (name == "vitald_libvirt_read_boot_seconds") plan.read_at = s.value;
    if (name != "vitald_guest_id") continue;
    by_name.emplace(label(s, "domain"), plan.guests.size());
    plan.guests.push_back({std::string(label(s, "domain")), std::string(label(s, "uuid")), s.value, kNowhere, {}});
  }
  if (plan.guests.empty()) return plan;
  for (const auto& s : layout.samples()) {
    const auto* found = std::ranges::find(kSums, s.family->name, &Sum::of);
    const bool memory = s.family->name == "libvirt_domain_info_memory_usage_bytes";
    if (found == std::end(kSums) && !memory) continue;
    const auto at = by_name.find(label(s, "domain"));
    if (at == by_name.end()) continue;
    auto& guest = plan.guests[at->second];
    if (memory) {
      guest.memory = s.value;
      continue;
    }
    const auto device = label(s, "target_device");
    auto known = std::ranges::find(guest.devices, device, &DevicePlan::name);
    if (known == guest.devices.end()) {
      guest.devices.push_back({std::string(device), {}});
      known = guest.devices.end() - 1;
      known->values.fill(kNowhere);
    }
    known->values[static_cast<std::size_t>(found - std::begin(kSums))] = s.value;
  }
  return plan;
}

// What is remembered of one.
struct Known {
  double id = -1;
  std::int64_t seen_ns = 0;
  double read_s = 0, memory_bytes = 0;  // of the last reading; 0 s: there was none
  std::optional<double> bytes_per_second;
  std::array<std::optional<double>, kSumCount> totals;
  std::map<std::string, std::array<double, kSumCount>, std::less<>> devices;  // as they were read last
};

class Guests final : public Deriver {
 public:
  Result<> derive(const Snapshot& so_far, BatchWriter& out) override {
    for (const auto& batch : so_far.batches) {
      const auto& plan = plans_.of(batch->layout, plan_of);
      if (plan.up == kNowhere) continue;
      const bool fresh = std::exchange(last_boot_ns_, batch->collected_boot_ns) != batch->collected_boot_ns;
      if (fresh && batch->values[plan.up] == 1) ++readings_;
      out.set(kReadings, readings_);
      for (const auto& guest : plan.guests) {
        auto& known = known_[guest.uuid];
        if (fresh) read(guest, plan, *batch, known);
        emit(guest, known, out);
      }
      if (fresh)
        std::erase_if(known_, [&](const auto& k) { return batch->collected_boot_ns - k.second.seen_ns > kRememberNs; });
    }
    plans_.forget_unused();
    return {};
  }

 private:
  static void read(const GuestPlan& guest, const Plan& plan, const Batch& batch, Known& known) {
    if (const auto id = batch.values[guest.id]; id != known.id) {  // started, or started anew: all counts from 0
      known = {};
      known.id = id;
    }
    known.seen_ns = batch.collected_boot_ns;
    if (guest.memory != kNowhere && plan.read_at != kNowhere) {
      const auto read_s = batch.values[plan.read_at], bytes = batch.values[guest.memory];
      if (read_s > known.read_s) {
        if (known.read_s > 0) known.bytes_per_second = (bytes - known.memory_bytes) / (read_s - known.read_s);
        known.read_s = read_s;
        known.memory_bytes = bytes;
      }
    }
    for (const auto& device : guest.devices) {
      auto& before = known.devices.try_emplace(device.name).first->second;
      for (std::size_t i = 0; i < kSumCount; ++i) {
        if (device.values[i] == kNowhere) continue;
        const auto value = batch.values[device.values[i]];
        // A device of the same name that was plugged in again counts from 0.
        known.totals[i] = known.totals[i].value_or(0) + (value >= before[i] ? value - before[i] : value);
        before[i] = value;
      }
    }
  }

  static void emit(const GuestPlan& guest, const Known& known, BatchWriter& out) {
    if (known.bytes_per_second) {
      out.set(kMemoryChange, *known.bytes_per_second, guest.name, guest.uuid);
      // The small number keeps what reads it from ever seeing an exact 0, as they who named it have it.
      const auto radians = std::atan(*known.bytes_per_second / 1024 + 1e-12);
      out.set(kMemoryTrend, radians * (180 / std::numbers::pi), guest.name, guest.uuid);
    }
    for (std::size_t i = 0; i < kSumCount; ++i)
      if (known.totals[i]) out.set(kSums[i].desc, *known.totals[i], guest.name, guest.uuid);
  }

  LayoutMap<Plan> plans_;
  std::map<std::string, Known, std::less<>> known_;  // by uuid
  std::int64_t last_boot_ns_ = -1;
  double readings_ = 0;
};

Result<std::unique_ptr<Deriver>> derive(const Host&, const Options&) { return std::make_unique<Guests>(); }

}  // namespace

extern const CollectorInfo collector_guests;
const CollectorInfo collector_guests{kMetrics, {}, nullptr, {}, derive};

}  // namespace vitald
