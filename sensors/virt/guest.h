// SPDX-License-Identifier: Apache-2.0
// What is known of one guest: its numbers, by the rows below, and what its XML says.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/metric.h"
#include "core/result.h"

namespace vitald::virt {

// A number of virConnectGetAllDomainStats() and the series it becomes: value / per (a division, because
// times 1e-9 would give 10.860000000000001).
// The names are those of the Tinkoff and inovex exporters, the widely used ones.
struct Row {
  std::string_view key;  // without "block.N." and the like
  double per = 1;
  MetricDesc desc;
};

inline constexpr std::string_view kDomain = "domain,uuid", kVcpu = "domain,uuid,vcpu",
                                  kDevice = "domain,uuid,target_device", kStats = "virConnectGetAllDomainStats";
inline constexpr auto kCounter = MetricType::counter, kGauge = MetricType::gauge;
inline constexpr double kKiB = 1.0 / 1024, kNs = 1e9;

constexpr Row of_guest(std::string_view key, double per, MetricType type, std::string_view name, std::string_view unit,
                       std::string_view help) {
  return {key, per, {name, type, help, kDomain, unit, kStats}};
}
constexpr Row of_vcpu(std::string_view key, double per, MetricType type, std::string_view name, std::string_view unit,
                      std::string_view help) {
  return {key, per, {name, type, help, kVcpu, unit, kStats}};
}
constexpr Row of_device(std::string_view key, double per, MetricType type, std::string_view name, std::string_view unit,
                        std::string_view help) {
  return {key, per, {name, type, help, kDevice, unit, kStats}};
}

inline constexpr Row kDomainRows[] = {
    of_guest("state.state", 1, kGauge, "libvirt_domain_info_vstate", "",
             "State of the guest: 0 none, 1 running, 2 blocked, 3 paused, 4 shutting down, 5 shut off, 6 crashed, 7 "
             "suspended."),
    of_guest("cpu.time", kNs, kCounter, "libvirt_domain_info_cpu_time_seconds_total", "seconds",
             "CPU time the guest has used, with the hypervisor's own share."),
    of_guest("balloon.maximum", kKiB, kGauge, "libvirt_domain_info_maximum_memory_bytes", "bytes",
             "Most memory the guest may have."),
    of_guest("balloon.current", kKiB, kGauge, "libvirt_domain_info_memory_usage_bytes", "bytes",
             "Memory given to the guest."),
    of_guest("vcpu.current", 1, kGauge, "libvirt_domain_info_virtual_cpus", "", "Virtual CPUs that are online."),
    of_guest("vcpu.maximum", 1, kGauge, "libvirt_domain_vcpu_maximum", "", "Most virtual CPUs the guest may have."),
    of_guest("balloon.current", kKiB, kGauge, "libvirt_domain_memory_stats_actual_balloon_bytes", "bytes",
             "Memory given to the guest, as the balloon driver has it."),
    of_guest("balloon.rss", kKiB, kGauge, "libvirt_domain_memory_stats_rss_bytes", "bytes",
             "Resident memory of the hypervisor's process on the host."),
    of_guest("balloon.unused", kKiB, kGauge, "libvirt_domain_memory_stats_unused_bytes", "bytes",
             "Memory the guest does not use at all. Needs <memballoon><stats period=.../>."),
    of_guest("balloon.available", kKiB, kGauge, "libvirt_domain_memory_stats_available_bytes", "bytes",
             "Memory the guest sees. Needs <memballoon><stats period=.../>."),
    of_guest("balloon.usable", kKiB, kGauge, "libvirt_domain_memory_stats_usable_bytes", "bytes",
             "Memory the guest could use without swapping. Needs <memballoon><stats period=.../>."),
    of_guest("balloon.disk_caches", kKiB, kGauge, "libvirt_domain_memory_stats_disk_cache_bytes", "bytes",
             "Memory of the guest that holds file contents. Needs <memballoon><stats period=.../>."),
    of_guest("balloon.swap_in", kKiB, kGauge, "libvirt_domain_memory_stats_swap_in_bytes", "bytes",
             "Memory the guest has read back from swap."),
    of_guest("balloon.swap_out", kKiB, kGauge, "libvirt_domain_memory_stats_swap_out_bytes", "bytes",
             "Memory the guest has written to swap."),
    of_guest("balloon.major_fault", 1, kCounter, "libvirt_domain_memory_stats_major_fault_total", "",
             "Page faults in the guest that needed a disk."),
    of_guest("balloon.minor_fault", 1, kCounter, "libvirt_domain_memory_stats_minor_fault_total", "",
             "Page faults in the guest that needed no disk."),
    of_guest("balloon.last-update", 1, kGauge, "libvirt_domain_memory_stats_last_update_timestamp_seconds", "seconds",
             "When the guest last told its memory numbers."),
};

inline constexpr Row kVcpuRows[] = {
    of_vcpu("state", 1, kGauge, "libvirt_domain_vcpu_state", "",
            "State of the virtual CPU: 0 offline, 1 running, 2 blocked."),
    of_vcpu("time", kNs, kCounter, "libvirt_domain_vcpu_time_seconds_total", "seconds",
            "CPU time of the virtual CPU's thread."),
    of_vcpu("delay", kNs, kCounter, "libvirt_domain_vcpu_delay_seconds_total", "seconds",
            "Time the virtual CPU was ready and waited for a CPU of the host: the guest's steal."),
    of_vcpu("wait", kNs, kCounter, "libvirt_domain_vcpu_wait_seconds_total", "seconds",
            "Time the virtual CPU's thread waited for IO; 0 on kernels without CONFIG_SCHEDSTATS."),
};

inline constexpr Row kBlockRows[] = {
    of_device("rd.bytes", 1, kCounter, "libvirt_domain_block_stats_read_bytes_total", "bytes",
              "Bytes read from the disk."),
    of_device("rd.reqs", 1, kCounter, "libvirt_domain_block_stats_read_requests_total", "", "Reads from the disk."),
    of_device("rd.times", kNs, kCounter, "libvirt_domain_block_stats_read_time_seconds_total", "seconds",
              "Time that reads from the disk took."),
    of_device("wr.bytes", 1, kCounter, "libvirt_domain_block_stats_write_bytes_total", "bytes",
              "Bytes written to the disk."),
    of_device("wr.reqs", 1, kCounter, "libvirt_domain_block_stats_write_requests_total", "", "Writes to the disk."),
    of_device("wr.times", kNs, kCounter, "libvirt_domain_block_stats_write_time_seconds_total", "seconds",
              "Time that writes to the disk took."),
    of_device("fl.reqs", 1, kCounter, "libvirt_domain_block_stats_flush_requests_total", "",
              "Flushes of the disk's cache."),
    of_device("fl.times", kNs, kCounter, "libvirt_domain_block_stats_flush_time_seconds_total", "seconds",
              "Time that flushes of the disk's cache took."),
    of_device("allocation", 1, kGauge, "libvirt_domain_block_stats_allocation", "bytes",
              "Highest offset written to the disk's image, in bytes."),
    of_device("capacity", 1, kGauge, "libvirt_domain_block_stats_capacity_bytes", "bytes",
              "Size of the disk as the guest sees it."),
    of_device("physical", 1, kGauge, "libvirt_domain_block_stats_physicalsize_bytes", "bytes",
              "Size of the disk's image on the host."),
};

inline constexpr Row kNetRows[] = {
    of_device("rx.bytes", 1, kCounter, "libvirt_domain_interface_stats_receive_bytes_total", "bytes",
              "Bytes the guest has received."),
    of_device("rx.pkts", 1, kCounter, "libvirt_domain_interface_stats_receive_packets_total", "",
              "Packets the guest has received."),
    of_device("rx.errs", 1, kCounter, "libvirt_domain_interface_stats_receive_errors_total", "",
              "Errors while the guest received."),
    of_device("rx.drop", 1, kCounter, "libvirt_domain_interface_stats_receive_drops_total", "",
              "Packets for the guest that were dropped."),
    of_device("tx.bytes", 1, kCounter, "libvirt_domain_interface_stats_transmit_bytes_total", "bytes",
              "Bytes the guest has sent."),
    of_device("tx.pkts", 1, kCounter, "libvirt_domain_interface_stats_transmit_packets_total", "",
              "Packets the guest has sent."),
    of_device("tx.errs", 1, kCounter, "libvirt_domain_interface_stats_transmit_errors_total", "",
              "Errors while the guest sent."),
    of_device("tx.drop", 1, kCounter, "libvirt_domain_interface_stats_transmit_drops_total", "",
              "Packets of the guest that were dropped."),
};

// KVM_MAX_VCPUS is 4096 at most.
inline constexpr std::size_t kMaxVcpus = 4096;

// One value per row; NaN where libvirt gave none (it gives integers only). Absent stays absent.
inline constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
template <const auto& Rows>
struct Numbers {
  std::array<double, std::size(Rows)> values;
  Numbers() { values.fill(kNone); }
};

struct Vcpu {
  Numbers<kVcpuRows> numbers;
};
struct Block {
  std::string name;  // "vda"
  Numbers<kBlockRows> numbers;
};
struct Net {
  std::string name;  // "vnet0"; empty for interfaces that exist inside the hypervisor only
  Numbers<kNetRows> numbers;
};

// From the guest's XML. Empty where it does not say.
struct DiskInfo {
  std::string target, bus, device, type, source, protocol, serial, driver_name, driver_type, cache, discard;
};
struct NicInfo {
  std::string target, type, bridge, mac, model, mtu, virtual_interface;
};
struct GuestInfo {
  std::string os_type, arch, machine;
  std::string nova_name, flavor, user, user_uuid, project, project_uuid, root_type, root_uuid;
  double memory_bytes = kNone, vcpus = kNone;
  std::vector<DiskInfo> disks;
  std::vector<NicInfo> nics;
};

struct Guest {
  std::string name, uuid;
  Numbers<kDomainRows> numbers;
  std::vector<Vcpu> vcpus;
  std::vector<Block> blocks;
  std::vector<Net> nets;
  GuestInfo info;

  // Forgets what the groups (bits of virDomainStatsTypes) of the next call will bring; what they do not bring is then
  // absent.
  void forget(unsigned groups);
  // One parameter of the call: "block.0.rd.bytes", 4096.
  void take(std::string_view key, double value);
  void take(std::string_view key, std::string_view text);
};

// The parts of libvirt's domain XML that become labels.
Result<GuestInfo> parse_domain_xml(std::string_view xml);

}  // namespace vitald::virt
