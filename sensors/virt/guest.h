// SPDX-License-Identifier: Apache-2.0
// What is known of one guest: its numbers, by the rows below, and what its XML says.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <map>
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
  bool inovex = false;  // another name for what has one already: only with --collector.libvirt.compat=inovex
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

constexpr Row inovex_guest(std::string_view key, double per, MetricType type, std::string_view name,
                           std::string_view unit, std::string_view help) {
  return {key, per, {name, type, help, kDomain, unit, kStats}, true};
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
    of_guest("balloon.hugetlb_pgalloc", 1, kCounter, "libvirt_domain_memory_stats_hugetlb_pgalloc_total", "",
             "Huge pages that the guest allocated."),
    of_guest("balloon.hugetlb_pgfail", 1, kCounter, "libvirt_domain_memory_stats_hugetlb_pgfail_total", "",
             "Huge pages that the guest wanted and did not get."),
    of_guest("cpu.user", kNs, kCounter, "vitald_guest_cpu_user_seconds_total", "seconds",
             "CPU time the hypervisor's process has used outside the kernel, the guest's own among it."),
    of_guest("cpu.system", kNs, kCounter, "vitald_guest_cpu_system_seconds_total", "seconds",
             "CPU time the host's kernel has used for the guest."),
    of_guest("cpu.haltpoll.success.time", kNs, kCounter, "vitald_guest_halt_poll_success_seconds_total", "seconds",
             "Time the host polled while the guest was idle, and it was worth it."),
    of_guest("cpu.haltpoll.fail.time", kNs, kCounter, "vitald_guest_halt_poll_fail_seconds_total", "seconds",
             "Time the host polled while the guest was idle, for nothing."),
    of_guest("dirtyrate.megabytes_per_second", 1.0 / 1048576, kGauge, "vitald_guest_dirty_rate_bytes_per_second", "",
             "How fast the guest writes to its memory, as it was last measured (virsh domdirtyrate-calc)."),
    inovex_guest("balloon.current", kKiB, kGauge, "libvirt_domain_memory_stats_current_balloon_bytes", "bytes",
                 "Memory given to the guest (--collector.libvirt.compat=inovex)."),
    inovex_guest("balloon.maximum", kKiB, kGauge, "libvirt_domain_memory_stats_maximum_bytes", "bytes",
                 "Most memory the guest may have (--collector.libvirt.compat=inovex)."),
    inovex_guest("balloon.disk_caches", kKiB, kGauge, "libvirt_domain_memory_stats_disk_caches_bytes", "bytes",
                 "Memory of the guest that holds file contents (--collector.libvirt.compat=inovex)."),
    inovex_guest("vcpu.current", 1, kGauge, "libvirt_domain_vcpu_current", "",
                 "Virtual CPUs that are online (--collector.libvirt.compat=inovex)."),
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
    of_vcpu("cpu", 1, kGauge, "libvirt_domain_vcpu_cpu", "", "The host's CPU on which the virtual CPU ran last."),
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

// Why a vCPU left the guest: "vcpu.0.io_exits.sum" of KVM's own statistics. One exit may be of several kinds.
inline constexpr std::string_view kExitKinds[] = {"halt", "hypercall", "io", "irq", "irq_window", "mmio", "signal"};
// Pages of the guest's memory as the host's tables have them: "vm.pages_2m.cur".
inline constexpr std::string_view kPageSizes[] = {"4k", "2m", "1g"};
// Limits of a disk, by the words of its XML (<iotune>) and of Tinkoff's exporter.
struct Limit {
  std::string_view element;
  MetricDesc desc;
};
constexpr Limit limit(std::string_view element, std::string_view name, std::string_view unit, std::string_view help) {
  return {element, {name, kGauge, help, kDevice, unit, "domain XML"}};
}
inline constexpr Limit kLimits[] = {
    limit("total_bytes_sec", "libvirt_domain_block_stats_limit_total_bytes", "bytes",
          "Most bytes a second; 0: no limit. Of disks that have some limit."),
    limit("read_bytes_sec", "libvirt_domain_block_stats_limit_read_bytes", "bytes",
          "Most bytes a second that are read."),
    limit("write_bytes_sec", "libvirt_domain_block_stats_limit_write_bytes", "bytes",
          "Most bytes a second that are written."),
    limit("total_iops_sec", "libvirt_domain_block_stats_limit_total_requests", "", "Most requests a second."),
    limit("read_iops_sec", "libvirt_domain_block_stats_limit_read_requests", "", "Most reads a second."),
    limit("write_iops_sec", "libvirt_domain_block_stats_limit_write_requests", "", "Most writes a second."),
    limit("total_bytes_sec_max", "libvirt_domain_block_stats_limit_burst_total_bytes", "bytes",
          "Most bytes a second in a burst."),
    limit("read_bytes_sec_max", "libvirt_domain_block_stats_limit_burst_read_bytes", "bytes",
          "Most bytes a second that are read in a burst."),
    limit("write_bytes_sec_max", "libvirt_domain_block_stats_limit_burst_write_bytes", "bytes",
          "Most bytes a second that are written in a burst."),
    limit("total_iops_sec_max", "libvirt_domain_block_stats_limit_burst_total_requests", "",
          "Most requests a second in a burst."),
    limit("read_iops_sec_max", "libvirt_domain_block_stats_limit_burst_read_requests", "",
          "Most reads a second in a burst."),
    limit("write_iops_sec_max", "libvirt_domain_block_stats_limit_burst_write_requests", "",
          "Most writes a second in a burst."),
    limit("total_bytes_sec_max_length", "libvirt_domain_block_stats_limit_burst_total_bytes_length_seconds", "seconds",
          "How long a burst of bytes may be."),
    limit("read_bytes_sec_max_length", "libvirt_domain_block_stats_limit_burst_read_bytes_length_seconds", "seconds",
          "How long a burst of bytes that are read may be."),
    limit("write_bytes_sec_max_length", "libvirt_domain_block_stats_limit_burst_write_bytes_length_seconds", "seconds",
          "How long a burst of bytes that are written may be."),
    limit("total_iops_sec_max_length", "libvirt_domain_block_stats_limit_burst_length_total_requests_seconds",
          "seconds", "How long a burst of requests may be."),
    limit("read_iops_sec_max_length", "libvirt_domain_block_stats_limit_burst_length_read_requests_seconds", "seconds",
          "How long a burst of reads may be."),
    limit("write_iops_sec_max_length", "libvirt_domain_block_stats_limit_burst_length_write_requests_seconds",
          "seconds", "How long a burst of writes may be."),
    limit("size_iops_sec", "libvirt_domain_block_stats_size_iops_bytes", "bytes",
          "A request of so many bytes counts as one for the limits; 0: every request does."),
};

struct Vcpu {
  Numbers<kVcpuRows> numbers;
  double exits = kNone;
  std::array<double, std::size(kExitKinds)> exit_kinds;
  Vcpu() { exit_kinds.fill(kNone); }
};
struct Iothread {
  double poll_max_ns = kNone;
};
// Of Intel's RDT: what a group of vCPUs moved to and from the memory of each node.
struct BandwidthNode {
  double id = kNone, local_bytes = kNone, total_bytes = kNone;
};
struct BandwidthMonitor {
  std::string name;
  std::vector<BandwidthNode> nodes;
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
  std::string target, alias, bus, device, type, source, protocol, serial, driver_name, driver_type, cache, discard;
  std::vector<double> limits;  // of kLimits; empty: it has none
};
struct NicInfo {
  std::string target, alias, type, bridge, mac, model, mtu, virtual_interface;
};
struct GuestInfo {
  std::string os_type, arch, machine;
  std::string nova_name, flavor, user, user_uuid, project, project_uuid, root_type, root_uuid;
  double memory_bytes = kNone, vcpus = kNone, most_vcpus = kNone;
  std::vector<DiskInfo> disks;
  std::vector<NicInfo> nics;
};

struct Guest {
  std::string name, uuid;
  std::int64_t id = -1;  // libvirt's number of a guest that runs; -1: it does not
  Numbers<kDomainRows> numbers;
  std::vector<Vcpu> vcpus;
  std::vector<Block> blocks;
  std::vector<Net> nets;
  std::vector<Iothread> iothreads;
  std::vector<BandwidthMonitor> bandwidth;
  std::map<std::string, double, std::less<>> perf;  // events counted since they were switched on for the guest
  std::array<double, std::size(kPageSizes)> pages;
  // The groups that ask the hypervisor were answered: not while it is busy, and some hypervisors never do.
  bool told = false, ever_told = false;
  GuestInfo info;

  Guest() { pages.fill(kNone); }

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
