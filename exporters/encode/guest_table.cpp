// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/guest_table.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>

namespace vitald {

constinit const std::array<GuestField, 4> kGuestFields = {{
    {"cpu_count", "libvirt_domain_info_virtual_cpus"},
    {"memory_max_kb", "libvirt_domain_info_maximum_memory_bytes", 1.0 / 1024},
    {"memory_used_kb", "libvirt_domain_info_memory_usage_bytes", 1.0 / 1024},
    {"cputime_ns", "libvirt_domain_info_cpu_time_seconds_total", 1e9},
}};
constinit const std::array<GuestField, 2> kFeatureFields = {{
    {"memory_rate_kb_per_sec", "vitald_guest_memory_change_bytes_per_second", 1.0 / 1024, false},
    {"memory_angle_deg", "vitald_guest_memory_trend_degrees", 1, false},
}};
constinit const std::array<GuestField, 6> kDiskFields = {{
    {"read_bytes", "libvirt_domain_block_stats_read_bytes_total"},
    {"read_requests", "libvirt_domain_block_stats_read_requests_total"},
    {"read_time_ns", "libvirt_domain_block_stats_read_time_seconds_total", 1e9},
    {"write_bytes", "libvirt_domain_block_stats_write_bytes_total"},
    {"write_requests", "libvirt_domain_block_stats_write_requests_total"},
    {"write_time_ns", "libvirt_domain_block_stats_write_time_seconds_total", 1e9},
}};
constinit const std::array<GuestField, 6> kInterfaceFields = {{
    {"receive_bytes", "libvirt_domain_interface_stats_receive_bytes_total"},
    {"receive_packets", "libvirt_domain_interface_stats_receive_packets_total"},
    {"receive_drops", "libvirt_domain_interface_stats_receive_drops_total"},
    {"transmit_bytes", "libvirt_domain_interface_stats_transmit_bytes_total"},
    {"transmit_packets", "libvirt_domain_interface_stats_transmit_packets_total"},
    {"transmit_drops", "libvirt_domain_interface_stats_transmit_drops_total"},
}};
constinit const std::array<GuestField, 8> kTotalFields = {{
    {"disk_read_bytes", "vitald_guest_disk_read_bytes_total"},
    {"disk_write_bytes", "vitald_guest_disk_written_bytes_total"},
    {"disk_read_requests", "vitald_guest_disk_reads_total"},
    {"disk_write_requests", "vitald_guest_disk_writes_total"},
    {"net_receive_bytes", "vitald_guest_network_receive_bytes_total"},
    {"net_transmit_bytes", "vitald_guest_network_transmit_bytes_total"},
    {"net_receive_packets", "vitald_guest_network_receive_packets_total"},
    {"net_transmit_packets", "vitald_guest_network_transmit_packets_total"},
}};

namespace {

std::string_view label(const Sample& s, std::string_view name) {
  for (const auto& l : Layout::labels(s))
    if (l.name == name) return l.value;
  return {};
}

enum class Kind : std::uint8_t { up, read_at, id, state, field, feature, total, disk, interface };
struct Wanted {
  Kind kind;
  std::size_t index;
  double times;
};

// By the series' name.
const std::unordered_map<std::string_view, Wanted>& wanted_series() {
  static const auto kAll = [] {
    std::unordered_map<std::string_view, Wanted> out{{"libvirt_up", {Kind::up, 0, 1}},
                                                     {"vitald_libvirt_read_boot_seconds", {Kind::read_at, 0, 1e9}},
                                                     {"vitald_guest_id", {Kind::id, 0, 1}},
                                                     {kGuestStateSeries, {Kind::state, 0, 1}}};
    const auto add = [&out](Kind kind, const auto& fields) {
      for (std::size_t i = 0; i < fields.size(); ++i) out.emplace(fields[i].series, Wanted{kind, i, fields[i].times});
    };
    add(Kind::field, kGuestFields);
    add(Kind::feature, kFeatureFields);
    add(Kind::total, kTotalFields);
    add(Kind::disk, kDiskFields);
    add(Kind::interface, kInterfaceFields);
    return out;
  }();
  return kAll;
}

GuestDevice& device_of(GuestRecord& guest, std::string_view name, bool disk) {
  for (auto& d : guest.devices)
    if (d.disk == disk && d.name == name) return d;
  return guest.devices.emplace_back(GuestDevice{std::string(name), disk, {}});
}

}  // namespace

GuestTable guests_of(const Snapshot& snapshot) {
  GuestTable table;
  std::map<std::string, GuestRecord, std::less<>> by_name;
  for (const auto& batch : snapshot.batches) {
    std::unordered_map<const MetricDesc*, Wanted> here;
    for (const auto* family : *batch->layout->families())
      if (const auto at = wanted_series().find(family->name); at != wanted_series().end())
        here.emplace(family, at->second);
    if (here.empty()) continue;
    for (const auto& s : batch->layout->samples()) {
      const auto at = here.find(s.family);
      if (at == here.end()) continue;
      const auto [kind, index, times] = at->second;
      const auto value = batch->values[s.value];
      if (!std::isfinite(value)) continue;
      if (kind == Kind::up) {
        table.up = value == 1;
        table.boot_ns = batch->collected_boot_ns;
        table.wall_ns = snapshot.wall_ns - (snapshot.boot_ns - batch->collected_boot_ns);
        continue;
      }
      if (kind == Kind::read_at) {
        table.read_boot_ns = std::llround(value * times);
        continue;
      }
      const auto name = label(s, "domain");
      auto& guest = by_name.try_emplace(std::string(name)).first->second;
      if (guest.name.empty()) guest.name = name;
      if (guest.uuid.empty()) guest.uuid = label(s, "uuid");
      const auto number = value * times;
      switch (kind) {
        case Kind::up:
        case Kind::read_at: break;
        case Kind::id: guest.id = static_cast<std::int64_t>(value); break;
        case Kind::state: guest.state = static_cast<int>(value); break;
        case Kind::field: guest.fields[index] = number; break;
        case Kind::feature: guest.features[index] = number; break;
        case Kind::total: guest.totals[index] = number; break;
        case Kind::disk:
        case Kind::interface:
          device_of(guest, label(s, "target_device"), kind == Kind::disk).fields[index] = number;
          break;
      }
    }
  }
  if (table.read_boot_ns == 0) table.read_boot_ns = table.boot_ns;
  table.read_wall_ns = table.wall_ns - (table.boot_ns - table.read_boot_ns);
  table.guests.reserve(by_name.size());
  for (auto& [name, guest] : by_name)
    // What was derived of a guest that is gone meanwhile is no guest.
    if (guest.state || guest.id) table.guests.push_back(std::move(guest));
  return table;
}

std::string_view guest_state_word(int state) {
  static constexpr std::string_view kWords[] = {"unknown",  "running", "blocked", "paused",
                                                "stopping", "stopped", "crashed", "suspended"};
  return state >= 0 && state < static_cast<int>(std::size(kWords)) ? kWords[state] : kWords[0];
}

}  // namespace vitald
