// SPDX-License-Identifier: Apache-2.0
// A guest's numbers under the names of KubeVirt's virt-handler (kubevirt_vmi_*), for those whose dashboards and rules
// have these. What only Kubernetes knows (phases, labels of the object, networks' names) is not there.
#pragma once

#include <cstddef>
#include <iterator>
#include <string_view>

#include "core/batch.h"
#include "core/metric.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/virt/guest.h"

namespace vitald::virt {

namespace kubevirt {

inline constexpr std::string_view kOfGuest = "node,namespace,name", kOfVcpu = "node,namespace,name,id",
                                  kOfDrive = "node,namespace,name,drive", kOfNic = "node,namespace,name,interface";

template <const auto& Rows>
consteval std::size_t row_of(std::string_view key) {
  for (std::size_t i = 0; i < std::size(Rows); ++i)
    if (Rows[i].key == key) return i;
  throw "no such row";  // does not compile
}

// One of libvirt's numbers (guest.h) under KubeVirt's name.
struct KubevirtName {
  std::size_t row;
  double per;
  MetricDesc desc;
};
template <const auto& Rows>
consteval KubevirtName name(std::string_view key, double per, MetricType type, std::string_view family,
                            std::string_view labels, std::string_view unit, std::string_view help) {
  return {row_of<Rows>(key), per, {family, type, help, labels, unit, kStats}};
}
consteval KubevirtName guest(std::string_view key, double per, MetricType type, std::string_view family,
                             std::string_view unit, std::string_view help) {
  return name<kDomainRows>(key, per, type, family, kOfGuest, unit, help);
}
consteval KubevirtName drive(std::string_view key, double per, std::string_view family, std::string_view unit,
                             std::string_view help) {
  return name<kBlockRows>(key, per, kCounter, family, kOfDrive, unit, help);
}
consteval KubevirtName nic(std::string_view key, std::string_view family, std::string_view unit,
                           std::string_view help) {
  return name<kNetRows>(key, 1, kCounter, family, kOfNic, unit, help);
}

// All with --collector.libvirt.compat=kubevirt only.
inline constexpr KubevirtName kKubevirtGuest[] = {
    guest("cpu.time", kNs, kCounter, "kubevirt_vmi_cpu_usage_seconds_total", "seconds",
          "CPU time of the guest and its hypervisor (--collector.libvirt.compat=kubevirt, as all of kubevirt_*)."),
    guest("cpu.user", kNs, kCounter, "kubevirt_vmi_cpu_user_usage_seconds_total", "seconds",
          "CPU time of the guest's process outside the kernel."),
    guest("cpu.system", kNs, kCounter, "kubevirt_vmi_cpu_system_usage_seconds_total", "seconds",
          "CPU time of the host's kernel for the guest."),
    guest("balloon.rss", kKiB, kGauge, "kubevirt_vmi_memory_resident_bytes", "bytes",
          "Resident memory of the guest's process."),
    guest("balloon.available", kKiB, kGauge, "kubevirt_vmi_memory_available_bytes", "bytes",
          "Memory that the guest sees."),
    guest("balloon.unused", kKiB, kGauge, "kubevirt_vmi_memory_unused_bytes", "bytes",
          "Memory that the guest does not use at all."),
    guest("balloon.disk_caches", kKiB, kGauge, "kubevirt_vmi_memory_cached_bytes", "bytes",
          "Memory of the guest that holds file contents."),
    guest("balloon.swap_in", kKiB, kGauge, "kubevirt_vmi_memory_swap_in_traffic_bytes", "bytes",
          "Memory that the guest has read back from swap."),
    guest("balloon.swap_out", kKiB, kGauge, "kubevirt_vmi_memory_swap_out_traffic_bytes", "bytes",
          "Memory that the guest has written to swap."),
    guest("balloon.major_fault", 1, kCounter, "kubevirt_vmi_memory_pgmajfault_total", "",
          "Page faults in the guest that needed a disk."),
    guest("balloon.minor_fault", 1, kCounter, "kubevirt_vmi_memory_pgminfault_total", "",
          "Page faults in the guest that needed no disk."),
    guest("balloon.current", kKiB, kGauge, "kubevirt_vmi_memory_actual_balloon_bytes", "bytes",
          "Memory given to the guest, as the balloon driver has it."),
    guest("balloon.usable", kKiB, kGauge, "kubevirt_vmi_memory_usable_bytes", "bytes",
          "Memory that the guest could use without swapping."),
    guest("balloon.maximum", kKiB, kGauge, "kubevirt_vmi_memory_domain_bytes", "bytes",
          "Most memory that the guest may have."),
    guest("dirtyrate.megabytes_per_second", 1.0 / 1048576, kGauge, "kubevirt_vmi_dirty_rate_bytes_per_second", "",
          "How fast the guest writes to its memory, as it was last measured."),
};
inline constexpr KubevirtName kKubevirtDrive[] = {
    drive("rd.reqs", 1, "kubevirt_vmi_storage_iops_read_total", "", "Reads from the disk."),
    drive("wr.reqs", 1, "kubevirt_vmi_storage_iops_write_total", "", "Writes to the disk."),
    drive("rd.bytes", 1, "kubevirt_vmi_storage_read_traffic_bytes_total", "bytes", "Bytes read from the disk."),
    drive("wr.bytes", 1, "kubevirt_vmi_storage_write_traffic_bytes_total", "bytes", "Bytes written to the disk."),
    drive("rd.times", kNs, "kubevirt_vmi_storage_read_times_seconds_total", "seconds", "Time that reads took."),
    drive("wr.times", kNs, "kubevirt_vmi_storage_write_times_seconds_total", "seconds", "Time that writes took."),
    drive("fl.reqs", 1, "kubevirt_vmi_storage_flush_requests_total", "", "Flushes of the disk's cache."),
    drive("fl.times", kNs, "kubevirt_vmi_storage_flush_times_seconds_total", "seconds", "Time that flushes took."),
};
inline constexpr KubevirtName kKubevirtNic[] = {
    nic("rx.bytes", "kubevirt_vmi_network_receive_bytes_total", "bytes", "Bytes that the guest has received."),
    nic("tx.bytes", "kubevirt_vmi_network_transmit_bytes_total", "bytes", "Bytes that the guest has sent."),
    nic("rx.pkts", "kubevirt_vmi_network_receive_packets_total", "", "Packets that the guest has received."),
    nic("tx.pkts", "kubevirt_vmi_network_transmit_packets_total", "", "Packets that the guest has sent."),
    nic("rx.errs", "kubevirt_vmi_network_receive_errors_total", "", "Errors while the guest received."),
    nic("tx.errs", "kubevirt_vmi_network_transmit_errors_total", "", "Errors while the guest sent."),
    nic("rx.drop", "kubevirt_vmi_network_receive_packets_dropped_total", "",
        "Packets for the guest that were dropped."),
    nic("tx.drop", "kubevirt_vmi_network_transmit_packets_dropped_total", "",
        "Packets of the guest that were dropped."),
};
inline constexpr MetricDesc kKubevirtVcpuSeconds{
    "kubevirt_vmi_vcpu_seconds_total",
    kCounter,
    "CPU time of the virtual CPU's thread; state: offline, running, blocked, as it is now.",
    "node,namespace,name,id,state",
    "seconds",
    kStats};
inline constexpr KubevirtName kKubevirtVcpu[] = {
    name<kVcpuRows>("wait", kNs, kCounter, "kubevirt_vmi_vcpu_wait_seconds_total", kOfVcpu, "seconds",
                    "Time that the virtual CPU's thread waited for IO."),
    name<kVcpuRows>("delay", kNs, kCounter, "kubevirt_vmi_vcpu_delay_seconds_total", kOfVcpu, "seconds",
                    "Time that the virtual CPU was ready and waited for a CPU of the host."),
};
inline constexpr MetricDesc kKubevirtSeconds[] = {kKubevirtVcpuSeconds};
inline constexpr auto kKubevirtFamilies =
    families_of(kKubevirtGuest, kKubevirtDrive, kKubevirtNic, kKubevirtVcpu, kKubevirtSeconds);

}  // namespace kubevirt

// Of a guest that runs. `node`: the host's name. KubeVirt calls its guests NAMESPACE_NAME; one without a namespace has
// its name alone.
void emit_kubevirt(BatchWriter& out, const Guest& guest, std::string_view node);

}  // namespace vitald::virt
