// SPDX-License-Identifier: Apache-2.0
// Guests of libvirt. One bulk call a cycle for all of them; what costs a round trip to every guest's
// hypervisor (1 ms of CPU a guest, docs/performance.md) is asked for more rarely.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/os/host_name.h"
#include "core/os/root_path.h"
#include "core/text/scan.h"
#include "sensors/virt/connection.h"
#include "sensors/virt/guest.h"
#include "sensors/virt/inventory.h"
#include "sensors/virt/kubevirt.h"
#include "sensors/virt/library.h"
#include "sensors/virt/qemu_threads.h"

namespace vitald {
namespace {

using namespace virt;

constexpr std::int64_t kSecond = 1'000'000'000;
// State and interfaces are known to libvirtd itself: 14 and 12 us a guest.
constexpr unsigned kCheap = VIR_DOMAIN_STATS_STATE | VIR_DOMAIN_STATS_INTERFACE;
// The rest asks QEMU or walks /proc: block 390, cpu 200, balloon 180 us a guest; events of perf and RDT are counted for
// guests only whose XML asks for it, and cost nothing for others ...
constexpr unsigned kCostly = VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_BALLOON | VIR_DOMAIN_STATS_BLOCK |
                             VIR_DOMAIN_STATS_PERF | VIR_DOMAIN_STATS_MEMORY;
// ... and vcpu 340, of which what moves is read from /proc where we can (QemuThreads); with it what rarely matters.
constexpr unsigned kVcpus =
    VIR_DOMAIN_STATS_VCPU | VIR_DOMAIN_STATS_IOTHREAD | VIR_DOMAIN_STATS_VM | VIR_DOMAIN_STATS_DIRTYRATE;
constexpr std::int64_t kVcpusEveryNs = 60 * kSecond;
// Guests that do not run, and XML that no event told to have changed.
constexpr std::int64_t kInactiveEveryNs = 60 * kSecond, kXmlEveryNs = 300 * kSecond;
// Of one cycle for reading XML; the rest is read in the next ones.
constexpr std::int64_t kXmlBudgetNs = 500'000'000;
constexpr std::chrono::milliseconds kPatience{1000};

constexpr MetricDesc kUp{"libvirt_up", kGauge, "Whether libvirt answered.", "", "", "libvirt"};
constexpr MetricDesc kVersions{"libvirt_versions_info",
                               kGauge,
                               "Versions of libvirt and of the hypervisor.",
                               "hypervisor_running,libvirtd_running,libvirt_library",
                               "",
                               "libvirt"};
constexpr MetricDesc kReconnects{"vitald_libvirt_reconnects_total",
                                 kCounter,
                                 "Connections to libvirt beyond the first, since the worker started.",
                                 "",
                                 "",
                                 "libvirt"};
constexpr MetricDesc kCallDuration{"vitald_libvirt_call_duration_seconds",
                                   kGauge,
                                   "How long the last bulk call to libvirt took.",
                                   "",
                                   "seconds",
                                   "libvirt"};
constexpr MetricDesc kReadAt{"vitald_libvirt_read_boot_seconds",
                             kGauge,
                             "When memory, CPU time and disks of the guests were last asked for, since boot.",
                             "",
                             "seconds",
                             "libvirt",
                             Shown::inside};
constexpr MetricDesc kGuestId{
    "vitald_guest_id", kGauge, "libvirt's number of a guest that runs; each start has a new one.",
    kDomain,           "",     "virDomainGetID"};
constexpr MetricDesc kUsedPercent{"libvirt_domain_memory_stats_used_percent",
                                  kGauge,
                                  "Memory the guest cannot give up, in percent of what it sees.",
                                  kDomain,
                                  "",
                                  kStats};
constexpr MetricDesc kStateCode{"libvirt_domain_state_code",
                                kGauge,
                                "State of the guest as a number (--collector.libvirt.compat=kumina).",
                                kDomain,
                                "",
                                kStats};
constexpr MetricDesc kStateName{
    "libvirt_domain_info_state", kGauge, "State of the guest by name, 1 (--collector.libvirt.compat=inovex).",
    "domain,uuid,state_desc",    "",     kStats};
constexpr MetricDesc kDomains{
    "libvirt_domains", kGauge, "Guests that run (--collector.libvirt.compat=inovex).", "", "", kStats};
constexpr MetricDesc kDomainsNumber{
    "libvirt_domains_number", kGauge, "Guests that run (--collector.libvirt.compat=kumina).", "", "", kStats};
constexpr MetricDesc kDomainMeta{
    "libvirt_domain_info_meta",
    kGauge,
    "OpenStack's names for the guest, 1.",
    "domain,uuid,instance_name,flavor,user_name,user_uuid,project_name,project_uuid,root_type,root_uuid",
    "",
    "domain XML"};
constexpr MetricDesc kDomainInfo{"libvirt_domain_info",
                                 kGauge,
                                 "The machine, 1 (--collector.libvirt.compat=inovex).",
                                 "domain,uuid,os_type,os_type_arch,os_type_machine",
                                 "",
                                 "domain XML"};
constexpr MetricDesc kOpenstackInfo{
    "libvirt_domain_openstack_info",
    kGauge,
    "OpenStack's names for the guest, 1 (--collector.libvirt.compat=inovex).",
    "domain,uuid,instance_name,instance_id,flavor_name,user_name,user_id,project_name,project_id",
    "",
    "domain XML"};
constexpr MetricDesc kBlockMeta{"libvirt_domain_block_meta",
                                kGauge,
                                "What the disk is, 1.",
                                "domain,uuid,target_device,source_file,serial,bus,disk_type,driver_type,cache,discard",
                                "",
                                "domain XML"};
constexpr MetricDesc kBlockInfo{
    "libvirt_domain_block_stats_info",
    kGauge,
    "What the disk is, 1 (--collector.libvirt.compat=inovex).",
    "domain,uuid,target_device,disk_type,target_bus,driver_name,driver_type,driver_cache,driver_discard,source_file,"
    "source_protocol,serial",
    "",
    "domain XML"};
constexpr MetricDesc kNicMeta{"libvirt_domain_interface_meta",
                              kGauge,
                              "What the interface is, 1.",
                              "domain,uuid,target_device,source_bridge,virtual_interface",
                              "",
                              "domain XML"};
constexpr MetricDesc kNicInfo{"libvirt_domain_interface_stats_info",
                              kGauge,
                              "What the interface is, 1 (--collector.libvirt.compat=inovex).",
                              "domain,uuid,target_device,interface_type,source_bridge,mac_address,model_type,mtu_size",
                              "",
                              "domain XML"};

constexpr MetricDesc kTimedOut{
    "libvirt_domain_timed_out",
    kGauge,
    "Whether the guest was too busy to tell its numbers (--collector.libvirt.compat=inovex).",
    kDomain,
    "",
    kStats};
constexpr MetricDesc kExits{"vitald_guest_exits_total",
                            kCounter,
                            "How often virtual CPUs of the guest left it, as KVM counts (QEMU 7.1, libvirt 8.9).",
                            kDomain,
                            "",
                            kStats};
constexpr MetricDesc kExitsByKind{"vitald_guest_exits_by_kind_total",
                                  kCounter,
                                  "The same by what it was for; one exit may be of several kinds, or of none of these.",
                                  "domain,uuid,kind",
                                  "",
                                  kStats};
constexpr MetricDesc kPages{"vitald_guest_pages", kGauge, "Pages of the guest's memory that KVM has mapped, by size.",
                            "domain,uuid,size",   "",     kStats};
constexpr MetricDesc kPerfEvents{"vitald_guest_perf_events_total",
                                 kCounter,
                                 "Events of the guest's process that its <perf> asks to be counted.",
                                 "domain,uuid,event",
                                 "",
                                 kStats};
constexpr MetricDesc kIothreadPoll{"vitald_guest_iothread_poll_max_seconds",
                                   kGauge,
                                   "How long an I/O thread polls at most before it sleeps.",
                                   "domain,uuid,iothread",
                                   "seconds",
                                   kStats};
constexpr MetricDesc kBandwidth{"vitald_guest_memory_bandwidth_bytes_total",
                                kCounter,
                                "Bytes that a group of virtual CPUs moved to and from memory (<memorytune>), by node; "
                                "total has those of other nodes too.",
                                "domain,uuid,monitor,node,reach",
                                "bytes",
                                kStats};
constexpr MetricDesc kThrottled{
    "vitald_guest_throttled_seconds_total",
    kCounter,
    "How long the guest's cgroups were kept from running by a CPU limit (<cputune>): of its "
    "virtual CPUs, its emulator and I/O threads, and the guest as a whole.",
    "domain,uuid,part",
    "seconds",
    "cgroup v2 cpu.stat"};
constexpr MetricDesc kThrottledPeriods{"vitald_guest_throttled_periods_total",
                                       kCounter,
                                       "In how many periods that was so.",
                                       "domain,uuid,part",
                                       "",
                                       "cgroup v2 cpu.stat"};
constexpr std::string_view kPoolSource = "virStoragePoolGetInfo";
constexpr MetricDesc pool(std::string_view name, std::string_view unit, std::string_view help,
                          std::string_view label = "storage_pool") {
  return {name, kGauge, help, label, unit, kPoolSource};
}
// Tinkoff's, inovex's.
constexpr MetricDesc kPoolCapacity =
    pool("libvirt_pool_info_capacity_bytes", "bytes", "Size of the storage pool.", "pool");
constexpr MetricDesc kPoolAllocation =
    pool("libvirt_pool_info_allocation_bytes", "bytes", "What of the storage pool is given to volumes.", "pool");
constexpr MetricDesc kPoolAvailable =
    pool("libvirt_pool_info_available_bytes", "bytes", "What of the storage pool is free.", "pool");
constexpr MetricDesc kStoragePoolState =
    pool("libvirt_storage_pool_state", "",
         "State of the storage pool: 0 inactive, 1 building, 2 running, 3 degraded, 4 not accessible "
         "(--collector.libvirt.compat=inovex, as the next ones).");
constexpr MetricDesc kStoragePoolCapacity =
    pool("libvirt_storage_pool_capacity_bytes", "bytes", "Size of the storage pool.");
constexpr MetricDesc kStoragePoolAllocation =
    pool("libvirt_storage_pool_allocation_bytes", "bytes", "What of the storage pool is given to volumes.");
constexpr MetricDesc kStoragePoolAvailable =
    pool("libvirt_storage_pool_available_bytes", "bytes", "What of the storage pool is free.");
constexpr MetricDesc kStoragePoolTimedOut =
    pool("libvirt_storage_pool_timed_out", "", "Whether the storage pool did not tell its numbers.");
constexpr MetricDesc kNetworkActive{"vitald_libvirt_network_active",
                                    kGauge,
                                    "Whether the virtual network is up; bridge is the host's device of it.",
                                    "network,bridge",
                                    "",
                                    "virNetworkIsActive"};
constexpr MetricDesc kNodeInfo{"vitald_libvirt_node_info",
                               kGauge,
                               "The host as libvirt sees it, 1: kind of CPU, sockets of a node, cores of a socket, "
                               "threads of a core.",
                               "model,nodes,sockets,cores,threads",
                               "",
                               "virNodeGetInfo"};
constexpr MetricDesc kNodeCpus{
    "vitald_libvirt_node_cpus", kGauge, "CPUs of the host that guests may use.", "", "", "virNodeGetInfo"};
constexpr MetricDesc kNodeMemory{
    "vitald_libvirt_node_memory_bytes", kGauge, "Memory of the host.", "", "bytes", "virNodeGetInfo"};

// What a guest's job (a migration, a dump, a save) says of itself; all 0 where there is none.
struct JobRow {
  MetricDesc desc;
  double (*of)(const virDomainJobInfo&);
};
constexpr MetricDesc job(std::string_view name, std::string_view unit, std::string_view help) {
  return {name, kGauge, help, kDomain, unit, "virDomainGetJobInfo"};
}
template <auto Member, unsigned Per = 1>
double job_number(const virDomainJobInfo& info) {
  return static_cast<double>(info.*Member) / Per;
}
using JobInfo = virDomainJobInfo;
constexpr JobRow kJobRows[] = {
    {job("libvirt_domain_job_info_type", "",
         "Job of the guest: 0 none, 1 bounded, 2 unbounded, 3 completed, 4 failed, 5 cancelled "
         "(--collector.libvirt.compat=inovex, as the next ones)."),
     job_number<&JobInfo::type>},
    {job("libvirt_domain_job_info_time_elapsed_seconds", "seconds", "How long the job has run."),
     job_number<&JobInfo::timeElapsed, 1000>},
    {job("libvirt_domain_job_info_time_remaining_seconds", "seconds", "How long it is expected to run on."),
     job_number<&JobInfo::timeRemaining, 1000>},
    {job("libvirt_domain_job_info_data_total_bytes", "bytes", "What the job has to move."),
     job_number<&JobInfo::dataTotal>},
    {job("libvirt_domain_job_info_data_processed_bytes", "bytes", "What it has moved."),
     job_number<&JobInfo::dataProcessed>},
    {job("libvirt_domain_job_info_data_remaining_bytes", "bytes", "What is left."),
     job_number<&JobInfo::dataRemaining>},
    {job("libvirt_domain_job_info_memory_total_bytes", "bytes", "Memory the job has to move."),
     job_number<&JobInfo::memTotal>},
    {job("libvirt_domain_job_info_memory_processed_bytes", "bytes", "Memory it has moved."),
     job_number<&JobInfo::memProcessed>},
    {job("libvirt_domain_job_info_memory_remaining_bytes", "bytes", "Memory that is left."),
     job_number<&JobInfo::memRemaining>},
    {job("libvirt_domain_job_info_file_total_bytes", "bytes", "Storage the job has to move."),
     job_number<&JobInfo::fileTotal>},
    {job("libvirt_domain_job_info_file_processed_bytes", "bytes", "Storage it has moved."),
     job_number<&JobInfo::fileProcessed>},
    {job("libvirt_domain_job_info_file_remaining_bytes", "bytes", "Storage that is left."),
     job_number<&JobInfo::fileRemaining>},
};

constexpr const MetricDesc* kSingles[] = {&kUp,
                                          &kVersions,
                                          &kReconnects,
                                          &kCallDuration,
                                          &kReadAt,
                                          &kGuestId,
                                          &kUsedPercent,
                                          &kStateCode,
                                          &kStateName,
                                          &kDomains,
                                          &kDomainsNumber,
                                          &kDomainMeta,
                                          &kDomainInfo,
                                          &kOpenstackInfo,
                                          &kBlockMeta,
                                          &kBlockInfo,
                                          &kNicMeta,
                                          &kNicInfo,
                                          &kTimedOut,
                                          &kExits,
                                          &kExitsByKind,
                                          &kPages,
                                          &kPerfEvents,
                                          &kIothreadPoll,
                                          &kBandwidth,
                                          &kThrottled,
                                          &kThrottledPeriods,
                                          &kPoolCapacity,
                                          &kPoolAllocation,
                                          &kPoolAvailable,
                                          &kStoragePoolState,
                                          &kStoragePoolCapacity,
                                          &kStoragePoolAllocation,
                                          &kStoragePoolAvailable,
                                          &kStoragePoolTimedOut,
                                          &kNetworkActive,
                                          &kNodeInfo,
                                          &kNodeCpus,
                                          &kNodeMemory};

constexpr auto all_metrics() {
  std::array<MetricDesc, std::size(kSingles) + std::size(kDomainRows) + std::size(kVcpuRows) + std::size(kBlockRows) +
                             std::size(kNetRows) + std::size(kLimits) + std::size(kJobRows) +
                             std::size(kubevirt::kKubevirtFamilies)>
      out{};
  std::size_t n = 0;
  for (const auto* d : kSingles) out[n++] = *d;
  for (const auto& r : kDomainRows) out[n++] = r.desc;
  for (const auto& r : kVcpuRows) out[n++] = r.desc;
  for (const auto& r : kBlockRows) out[n++] = r.desc;
  for (const auto& r : kNetRows) out[n++] = r.desc;
  for (const auto& r : kLimits) out[n++] = r.desc;
  for (const auto& r : kJobRows) out[n++] = r.desc;
  for (const auto& d : kubevirt::kKubevirtFamilies) out[n++] = d;
  return out;
}
constexpr auto kMetrics = all_metrics();

constexpr std::string_view kLabelSets[] = {"domain,uuid", "domain"};
constexpr std::string_view kExporters[] = {"tinkoff", "inovex", "kumina", "kubevirt"};
constexpr FlagSpec kFlags[] = {
    {"collector.libvirt.uri", FlagType::text, "qemu:///system", "libvirt: connection URI, opened read-only."},
    {"collector.libvirt.slow-interval", FlagType::duration, "15s",
     "libvirt: how often to ask for what costs a round trip to every guest (CPU, vCPU, memory, disks)."},
    {"collector.libvirt.inventory-interval", FlagType::duration, "1m",
     "libvirt: how often to ask for storage pools, networks and the host, which are never refreshed for it; 0s: "
     "never."},
    {.name = "collector.libvirt.labels",
     .fallback = "domain,uuid",
     .help = "libvirt: labels of a guest on every series; domain alone is as the exporters that know no uuid.",
     .choices = kLabelSets},
    {.name = "collector.libvirt.compat",
     .type = FlagType::words,
     .fallback = "tinkoff",
     .help = "libvirt: exporters whose info and state series to add, comma-separated; kubevirt: all of a guest's "
             "numbers also as "
             "kubevirt_vmi_*.",
     .choices = kExporters},
};

struct Settings {
  std::string uri;
  std::int64_t slow_interval_ns = 0, inventory_interval_ns = 0;
  bool asks_qemu = false;  // which tells of every guest; of other hypervisors only those that told once are missed
  bool with_uuid = true, tinkoff = false, inovex = false, kumina = false, kubevirt = false;
};

// Emits one guest. Labels are the guest's own plus some of the item's.
class GuestEmitter {
 public:
  GuestEmitter(BatchWriter& out, const Settings& settings, const Guest& guest) : out_(out), s_(settings), g_(guest) {
    labels_.push_back({"domain", g_.name});
    if (s_.with_uuid) labels_.push_back({"uuid", g_.uuid});
    own_ = labels_.size();
  }

  void throttled(std::span<const QemuThreads::Throttled> parts) {
    for (const auto& t : parts) {
      more(kThrottled, t.seconds, {{"part", t.part}});
      more(kThrottledPeriods, t.periods, {{"part", t.part}});
    }
  }

  void emit() {
    if (g_.id >= 0) out_.set(kGuestId, static_cast<double>(g_.id), g_.name, g_.uuid);
    rows<kDomainRows>(g_.numbers);
    const double state = g_.numbers.values[0];
    if (s_.kumina && !std::isnan(state)) out_.set_labels(kStateCode, state, labels_);
    if (s_.inovex && !std::isnan(state)) info(kStateName, {{"state_desc", state_name(state)}});
    if (s_.inovex && g_.id >= 0)
      out_.set_labels(kTimedOut, (s_.asks_qemu || g_.ever_told) && !g_.told ? 1 : 0, labels_);
    if (const double seen = number("balloon.available"), usable = number("balloon.usable"); seen > 0 && usable >= 0)
      out_.set_labels(kUsedPercent, (seen - usable) * 100 / seen, labels_);
    const auto& i = g_.info;
    if (s_.tinkoff)
      info(kDomainMeta, {{"instance_name", i.nova_name},
                         {"flavor", i.flavor},
                         {"user_name", i.user},
                         {"user_uuid", i.user_uuid},
                         {"project_name", i.project},
                         {"project_uuid", i.project_uuid},
                         {"root_type", i.root_type},
                         {"root_uuid", i.root_uuid}});
    if (s_.inovex) {
      info(kDomainInfo, {{"os_type", i.os_type}, {"os_type_arch", i.arch}, {"os_type_machine", i.machine}});
      if (!i.nova_name.empty())
        info(kOpenstackInfo, {{"instance_name", i.nova_name},
                              {"instance_id", g_.uuid},
                              {"flavor_name", i.flavor},
                              {"user_name", i.user},
                              {"user_id", i.user_uuid},
                              {"project_name", i.project},
                              {"project_id", i.project_uuid}});
    }
    kvm();
    for (std::size_t n = 0; n < g_.vcpus.size(); ++n) {
      const Decimal index(n);
      item("vcpu", index);
      rows<kVcpuRows>(g_.vcpus[n].numbers);
    }
    for (const auto& b : g_.blocks) {
      if (b.name.empty()) continue;
      item("target_device", b.name);
      rows<kBlockRows>(b.numbers);
    }
    for (const auto& d : i.disks) disk(d);
    for (const auto& n : g_.nets) {
      if (n.name.empty()) continue;
      item("target_device", n.name);
      rows<kNetRows>(n.numbers);
    }
    for (const auto& n : i.nics) nic(n);
  }

 private:
  static std::string_view state_name(double state) {
    static constexpr std::string_view kNames[] = {"no state",
                                                  "the domain is running",
                                                  "the domain is blocked on resource",
                                                  "the domain is paused by user",
                                                  "the domain is being shut down",
                                                  "the domain is shut off",
                                                  "the domain is crashed",
                                                  "the domain is suspended by guest power management"};
    return state >= 0 && state < static_cast<double>(std::size(kNames)) ? kNames[static_cast<std::size_t>(state)]
                                                                        : "unknown";
  }
  [[nodiscard]] double number(std::string_view key) const {
    for (std::size_t i = 0; i < std::size(kDomainRows); ++i)
      if (kDomainRows[i].key == key) return g_.numbers.values[i];
    return kNone;
  }
  void item(std::string_view name, std::string_view value) {
    labels_.resize(own_);
    labels_.push_back({name, value});
  }
  template <const auto& Rows>
  void rows(const Numbers<Rows>& numbers) {
    for (std::size_t i = 0; i < std::size(Rows); ++i)
      if (!std::isnan(numbers.values[i]) && (s_.inovex || !Rows[i].inovex))
        out_.set_labels(Rows[i].desc, numbers.values[i] / Rows[i].per, labels_);
  }
  void more(const MetricDesc& desc, double value, std::initializer_list<Label> labels) {
    if (std::isnan(value)) return;
    labels_.resize(own_);
    labels_.insert(labels_.end(), labels);
    out_.set_labels(desc, value, labels_);
    labels_.resize(own_);
  }
  // What the groups beside the usual ones brought.
  void kvm() {
    double exits = kNone;
    std::array<double, std::size(kExitKinds)> kinds;
    kinds.fill(kNone);
    const auto add = [](double& sum, double n) {
      if (!std::isnan(n)) sum = std::isnan(sum) ? n : sum + n;
    };
    for (const auto& v : g_.vcpus) {
      add(exits, v.exits);
      for (std::size_t i = 0; i < kinds.size(); ++i) add(kinds[i], v.exit_kinds[i]);
    }
    more(kExits, exits, {});
    for (std::size_t i = 0; i < kinds.size(); ++i) more(kExitsByKind, kinds[i], {{"kind", kExitKinds[i]}});
    for (std::size_t i = 0; i < g_.pages.size(); ++i) more(kPages, g_.pages[i], {{"size", kPageSizes[i]}});
    for (const auto& [event, count] : g_.perf) more(kPerfEvents, count, {{"event", event}});
    for (std::size_t i = 0; i < g_.iothreads.size(); ++i)
      more(kIothreadPoll, g_.iothreads[i].poll_max_ns / 1e9, {{"iothread", Decimal(i)}});
    for (const auto& monitor : g_.bandwidth)
      for (const auto& node : monitor.nodes) {
        if (std::isnan(node.id)) continue;
        const Decimal id(static_cast<std::uint64_t>(node.id));
        more(kBandwidth, node.local_bytes, {{"monitor", monitor.name}, {"node", id}, {"reach", "local"}});
        more(kBandwidth, node.total_bytes, {{"monitor", monitor.name}, {"node", id}, {"reach", "total"}});
      }
  }
  void info(const MetricDesc& desc, std::initializer_list<Label> more) {
    labels_.resize(own_);
    labels_.insert(labels_.end(), more);
    out_.set_labels(desc, 1, labels_);
    labels_.resize(own_);
  }
  void disk(const DiskInfo& d) {
    if (d.target.empty()) return;
    if (s_.tinkoff)
      info(kBlockMeta, {{"target_device", d.target},
                        {"source_file", d.source},
                        {"serial", d.serial},
                        {"bus", d.bus},
                        {"disk_type", d.type},
                        {"driver_type", d.driver_type},
                        {"cache", d.cache},
                        {"discard", d.discard}});
    if (s_.tinkoff) {
      for (std::size_t i = 0; i < d.limits.size(); ++i)
        more(kLimits[i].desc, d.limits[i], {{"target_device", d.target}});
    }
    if (s_.inovex)
      info(kBlockInfo, {{"target_device", d.target},
                        {"disk_type", d.type},
                        {"target_bus", d.bus},
                        {"driver_name", d.driver_name},
                        {"driver_type", d.driver_type},
                        {"driver_cache", d.cache},
                        {"driver_discard", d.discard},
                        {"source_file", d.source},
                        {"source_protocol", d.protocol},
                        {"serial", d.serial}});
  }
  void nic(const NicInfo& n) {
    if (n.target.empty()) return;
    if (s_.tinkoff)
      info(kNicMeta,
           {{"target_device", n.target}, {"source_bridge", n.bridge}, {"virtual_interface", n.virtual_interface}});
    if (s_.inovex)
      info(kNicInfo, {{"target_device", n.target},
                      {"interface_type", n.type},
                      {"source_bridge", n.bridge},
                      {"mac_address", n.mac},
                      {"model_type", n.model},
                      {"mtu_size", n.mtu}});
  }

  BatchWriter& out_;
  const Settings& s_;
  const Guest& g_;
  std::vector<Label> labels_;
  std::size_t own_ = 0;
};

class Libvirt final : public Collector {
 public:
  Libvirt(const Host& host, Settings settings) : host_(host), clock_(host.clock()), settings_(std::move(settings)) {}
  ~Libvirt() override {
    connection_.reset();
    inventory_.forget();
  }

  Result<> collect(BatchWriter& out) override {
    const auto read = update();
    if (!lib_) return read;  // without the library nobody has asked libvirt whether it is up
    out.set(kUp, read ? 1 : 0);
    if (connection_ && connection_->opened() > 0) out.set(kReconnects, static_cast<double>(connection_->opened() - 1));
    if (!read) return read;
    const auto* found = inventory_.findings(clock_.boot_ns());
    if (found) out.set(kVersions, 1, found->hypervisor, found->daemon, found->mine);
    out.set(kCallDuration, call_s_);
    if (read_ns_ != 0) out.set(kReadAt, static_cast<double>(read_ns_) / 1e9);
    const auto running = std::ranges::count_if(guests_, [](const auto& g) { return g.second.active; });
    if (settings_.inovex) out.set(kDomains, static_cast<double>(running));
    if (settings_.kumina) out.set(kDomainsNumber, static_cast<double>(running));
    if (found && settings_.inventory_interval_ns > 0) emit_inventory(out, *found);
    for (const auto& [uuid, known] : guests_) {
      GuestEmitter emitter(out, settings_, known.guest);
      emitter.emit();
      if (known.active) emitter.throttled(known.throttled);
      if (known.active && settings_.kubevirt) emit_kubevirt(out, known.guest, node_);
    }
    if (found) emit_jobs(out, *found);
    for (auto& problem : std::exchange(problems_, {})) out.problem(std::move(problem));
    return {};
  }

  [[nodiscard]] std::string status() const override {
    return fmt::format("{}, {} guests", settings_.uri, guests_.size());
  }

 private:
  struct Known {
    Guest guest;
    bool active = false, seen = false, complete = false;  // complete: the costly groups were asked for too
    unsigned life = UINT32_MAX;                           // the number it had last: each start gives another
    std::int64_t xml_ns = 0;                              // when its XML was read; 0: it must be
    QemuThreads threads;
    std::vector<QemuThreads::Throttled> throttled;
  };

  Result<> update() {
    if (!lib_) {
      auto lib = library();
      if (!lib) return fail(std::move(lib.error()));
      lib_ = *lib;
    }
    if (!connection_) {
      auto connection = Connection::make(*lib_, settings_.uri);
      if (!connection) return fail(std::move(connection.error()));
      connection_ = std::move(*connection);
    }
    auto handle = connection_->get(kPatience);
    if (!handle) {
      guests_.clear();
      return fail(std::move(handle.error()));
    }
    const bool opened = connection_->opened() != generation_;
    if (opened) forget();
    const auto now = clock_.boot_ns();
    for (const auto& uuid : connection_->take_changed()) {
      inactive_ns_ = 0;
      if (const auto it = guests_.find(uuid); it != guests_.end()) it->second.xml_ns = 0;
    }

    unsigned groups = kCheap;
    // A disk that was plugged in has its counters at once. Only then: after any other event (a guest that is being
    // stopped holds its lock) what is costly would make the answer late.
    if (connection_->take_plugged()) groups |= kCostly;
    if (due(slow_ns_, settings_.slow_interval_ns, now)) {
      slow_ns_ = now;
      groups |= kCostly;
      const bool all_seen =
          std::ranges::all_of(guests_, [](const auto& g) { return !g.second.active || g.second.threads.found(); });
      bool plugged = false;
      for (auto& [uuid, known] : guests_) plugged |= known.active && known.threads.changed(host_);
      if (!all_seen || plugged || due(vcpus_ns_, std::max(kVcpusEveryNs, settings_.slow_interval_ns), now)) {
        vcpus_ns_ = now;
        groups |= kVcpus;
      }
    }
    if (auto read = bulk(*handle, groups, true); !read) return read;
    if (std::ranges::any_of(guests_, [](const auto& g) { return g.second.active && !g.second.complete; }))
      if (auto read = bulk(*handle, kCheap | kCostly | kVcpus, true); !read) return read;  // one has just started
    // On which CPU it runs, and for how long it may not, is worth more files only as often as the costly numbers.
    const bool slow = (groups & kCostly) == kCostly;
    for (auto& [uuid, known] : guests_) {
      known.threads.read(known.guest.vcpus, slow);
      if (slow) known.throttled = known.threads.throttled();
    }
    if (inactive_ns_ == 0 || now - inactive_ns_ >= kInactiveEveryNs) {
      if (auto read = bulk(*handle, VIR_DOMAIN_STATS_STATE, false); !read) return read;
      inactive_ns_ = now;
    }
    // After the guests have been read.
    const bool all = settings_.inventory_interval_ns > 0 && due(inventory_ns_, settings_.inventory_interval_ns, now);
    const bool jobs = settings_.inovex && due(jobs_ns_, settings_.slow_interval_ns, now);
    if (opened || all || jobs) {
      inventory_.ask(*lib_, *handle, all, jobs, now);
      if (all) inventory_ns_ = now;
      if (jobs) jobs_ns_ = now;
    }
    return {};
  }

  // A quarter of a second early is in time: scrapes do not come to the millisecond.
  static bool due(std::int64_t last_ns, std::int64_t every_ns, std::int64_t now_ns) {
    return last_ns == 0 || now_ns - last_ns >= every_ns - kSecond / 4;
  }

  // After a new connection: nothing that was known needs to be true.
  void forget() {
    generation_ = connection_->opened();
    guests_.clear();
    slow_ns_ = vcpus_ns_ = inactive_ns_ = read_ns_ = 0;
    inventory_.forget();
    inventory_ns_ = jobs_ns_ = 0;
  }

  void emit_inventory(BatchWriter& out, const Findings& found) const {
    for (const auto& p : found.pools) {
      if (settings_.tinkoff && p.told) {
        out.set(kPoolCapacity, p.capacity_bytes, p.name);
        out.set(kPoolAllocation, p.allocation_bytes, p.name);
        out.set(kPoolAvailable, p.available_bytes, p.name);
      }
      if (!settings_.inovex) continue;
      out.set(kStoragePoolTimedOut, p.told ? 0 : 1, p.name);
      if (!p.told) continue;
      out.set(kStoragePoolState, p.state, p.name);
      out.set(kStoragePoolCapacity, p.capacity_bytes, p.name);
      out.set(kStoragePoolAllocation, p.allocation_bytes, p.name);
      out.set(kStoragePoolAvailable, p.available_bytes, p.name);
    }
    for (const auto& n : found.networks) out.set(kNetworkActive, n.active ? 1 : 0, n.name, n.bridge);
    if (!found.node_known) return;
    const auto& node = found.node;
    out.set(kNodeInfo, 1, std::string_view(node.model, strnlen(node.model, sizeof node.model)), Decimal(node.nodes),
            Decimal(node.sockets), Decimal(node.cores), Decimal(node.threads));
    out.set(kNodeCpus, node.cpus);
    out.set(kNodeMemory, static_cast<double>(node.memory) * 1024);
  }

  // Of guests that are there now: the round may be older.
  void emit_jobs(BatchWriter& out, const Findings& found) const {
    if (!settings_.inovex) return;
    for (const auto& j : found.jobs) {
      const auto at = guests_.find(j.uuid);
      if (at == guests_.end() || !at->second.active) continue;
      std::vector<Label> labels{{"domain", at->second.guest.name}};
      if (settings_.with_uuid) labels.push_back({"uuid", j.uuid});
      for (const auto& row : kJobRows) out.set_labels(row.desc, row.of(j.info), labels);
    }
  }

  // One call for all guests that run, or for all that do not.
  Result<> bulk(const Connection::Handle& handle, unsigned groups, bool active) {
    virDomainStatsRecordPtr* records = nullptr;
    const auto begin = SystemClock::read(CLOCK_MONOTONIC);
    // NOWAIT: of a guest that is busy (migrating, or its hypervisor hangs) only what needs no lock.
    const int n = lib_->virConnectGetAllDomainStats(
        handle.get(), groups, &records,
        VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT |
            static_cast<unsigned>(active ? VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
                                         : VIR_CONNECT_GET_ALL_DOMAINS_STATS_INACTIVE));
    if ((groups & kCostly) == kCostly) read_ns_ = clock_.boot_ns();
    call_s_ = static_cast<double>(SystemClock::read(CLOCK_MONOTONIC) - begin) / 1e9;
    if (n < 0) {
      auto why = last_error(*lib_);
      if (connection_->check(handle)) guests_.clear();
      return fail(Errc::io, fmt::format("libvirt: {}: bulk call: {}", settings_.uri, why));
    }
    const std::unique_ptr<virDomainStatsRecordPtr, void (*)(virDomainStatsRecordPtr*)> owner(
        records, lib_->virDomainStatsRecordListFree);
    for (auto& [uuid, known] : guests_) known.seen = known.active != active;
    for (int i = 0; i < n; ++i) take(*records[i], groups, active);
    std::erase_if(guests_, [](const auto& g) { return !g.second.seen; });
    return {};
  }

  void take(const virDomainStatsRecord& record, unsigned groups, bool active) {
    char uuid[VIR_UUID_STRING_BUFLEN];
    const char* name = lib_->virDomainGetName(record.dom);
    if (!name || lib_->virDomainGetUUIDString(record.dom, uuid) != 0) return;
    auto& known = guests_[uuid];
    const auto id = active ? lib_->virDomainGetID(record.dom) : UINT32_MAX;  // all ones: it has just stopped
    // Started or stopped: its counters began anew. Also where nobody looked between its end and its new start.
    if (known.active != active || (id != UINT32_MAX && known.life != UINT32_MAX && known.life != id)) known = {};
    if (id != UINT32_MAX) known.life = id;
    known.active = active;
    known.seen = true;
    known.complete = known.complete || (groups & kVcpus) != 0;
    auto& guest = known.guest;
    guest.name = name;
    guest.uuid = uuid;
    guest.id = id == UINT32_MAX ? -1 : static_cast<std::int64_t>(id);
    guest.forget(groups);
    for (int p = 0; p < record.nparams; ++p) {
      const auto& param = record.params[p];
      switch (param.type) {
        case VIR_TYPED_PARAM_INT: guest.take(param.field, static_cast<double>(param.value.i)); break;
        case VIR_TYPED_PARAM_UINT: guest.take(param.field, static_cast<double>(param.value.ui)); break;
        case VIR_TYPED_PARAM_LLONG: guest.take(param.field, static_cast<double>(param.value.l)); break;
        case VIR_TYPED_PARAM_ULLONG: guest.take(param.field, static_cast<double>(param.value.ul)); break;
        case VIR_TYPED_PARAM_STRING: guest.take(param.field, std::string_view(param.value.s)); break;
        default: break;  // no number that is wanted is a double or a boolean
      }
    }
    // New, or with vCPUs plugged or unplugged.
    if ((groups & kVcpus) != 0 && (known.threads.count() != guest.vcpus.size() || known.threads.stale()))
      known.threads.find(host_, guest.name);
    read_xml(record.dom, known);
  }

  // When it is new, changed by an event, or was read long ago.
  void read_xml(virDomainPtr domain, Known& known) {
    const auto now = clock_.boot_ns();
    if (known.xml_ns != 0 && now - known.xml_ns < kXmlEveryNs) return;
    if (now - xml_budget_from_ns_ > kSecond) xml_budget_from_ns_ = now;
    if (now - xml_budget_from_ns_ > kXmlBudgetNs) return;
    const std::unique_ptr<char, Call<&std::free>> xml(lib_->virDomainGetXMLDesc(domain, 0));
    if (!xml) return;  // it went away: the next bulk call shows it
    auto info = parse_domain_xml(xml.get());
    if (!info) {
      problems_.push_back({info.error().kind, 0, fmt::format("{} ({})", info.error().text, known.guest.name)});
      return;
    }
    known.guest.info = std::move(*info);
    known.xml_ns = now;
    if (!known.active) {
      known.guest.take("vcpu.current", known.guest.info.vcpus);
      known.guest.take("vcpu.maximum", known.guest.info.most_vcpus);
      known.guest.take("balloon.maximum", known.guest.info.memory_bytes * kKiB);
    }
  }

  const Host& host_;
  const Clock& clock_;
  const Settings settings_;
  const std::string node_ = host_name();
  const virt::Library* lib_ = nullptr;
  std::unique_ptr<Connection> connection_;
  std::uint64_t generation_ = 0;         // of the connection that the rest was learnt from
  std::map<std::string, Known> guests_;  // by uuid
  Inventory inventory_;
  std::int64_t slow_ns_ = 0, vcpus_ns_ = 0, inactive_ns_ = 0, xml_budget_from_ns_ = 0, read_ns_ = 0;
  std::int64_t inventory_ns_ = 0, jobs_ns_ = 0;
  double call_s_ = 0;
  std::vector<Error> problems_;  // of the guests in this cycle
};

// The sockets of the one libvirtd, and of the daemons per hypervisor that replace it.
constexpr std::string_view kSockets[] = {"libvirt-sock-ro", "libvirt-sock", "virtqemud-sock-ro", "virtqemud-sock"};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  Settings s;
  s.uri = options.text("collector.libvirt.uri");
  s.asks_qemu = s.uri.starts_with("qemu");
  s.slow_interval_ns = options.duration_ns("collector.libvirt.slow-interval");
  s.inventory_interval_ns = options.duration_ns("collector.libvirt.inventory-interval");
  s.with_uuid = options.text("collector.libvirt.labels") == "domain,uuid";
  for (auto compat = options.text("collector.libvirt.compat"); !compat.empty();) {
    const auto name = trim(take_until(compat, ','));
    s.tinkoff |= name == "tinkoff";
    s.inovex |= name == "inovex";
    s.kumina |= name == "kumina";
    s.kubevirt |= name == "kubevirt";
  }
  if (!options.given("collector.libvirt.uri")) {
    const auto folder = path_below_root(host.roots().root, "/run/libvirt");
    const auto* socket = std::ranges::find_if(
        kSockets, [&](auto name) { return access(fmt::format("{}/{}", folder, name).c_str(), F_OK) == 0; });
    if (socket == std::end(kSockets))
      return fail(Errc::absent, fmt::format("{}: no socket of libvirt there; is libvirtd installed?", folder));
    // In a container the host's socket lies below --path.rootfs.
    if (host.roots().root != "/") s.uri += fmt::format("?socket={}/{}", folder, *socket);
  }
  return std::make_unique<Libvirt>(host, std::move(s));
}

}  // namespace

extern const CollectorInfo collector_libvirt;
const CollectorInfo collector_libvirt{kMetrics, kFlags, make};

}  // namespace vitald
