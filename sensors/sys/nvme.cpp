// SPDX-License-Identifier: Apache-2.0
// NVMe controllers and their namespaces, from /sys/class/nvme.
#include <array>
#include <string>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/power_state.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_nvme_info", gauge, "Non-numeric data from /sys/class/nvme/<device>, value is always 1.",
     "device,firmware_revision,model,serial,state,cntlid", "", "/sys/class/nvme/*"},
    {"node_nvme_namespace_info", gauge, "Information about NVMe namespaces. Value is always 1", "device,nsid,ana_state",
     "", "/sys/class/nvme/*/nvme*n*/{nsid,ana_state}"},
    {"node_nvme_namespace_capacity_bytes", gauge,
     "Capacity of the NVMe namespace in bytes. Computed as namespace_size * namespace_logical_block_size",
     "device,nsid", "bytes", "/sys/class/nvme/*/nvme*n*/size"},
    {"node_nvme_namespace_size_bytes", gauge,
     "Size of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/size", "device,nsid",
     "bytes", "/sys/class/nvme/*/nvme*n*/size"},
    {"node_nvme_namespace_used_bytes", gauge,
     "Used space of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/nuse", "device,nsid",
     "bytes", "/sys/class/nvme/*/nvme*n*/nuse"},
    {"node_nvme_namespace_logical_block_size_bytes", gauge,
     "Logical block size of the NVMe namespace in bytes. Usually 4Kb. Available in "
     "/sys/class/nvme/<device>/<namespace>/queue/logical_block_size",
     "device,nsid", "bytes", "/sys/class/nvme/*/nvme*n*/queue/logical_block_size"},
    {"vitald_nvme_namespace_capacity_bytes", gauge,
     "Capacity of the NVMe namespace in bytes. The kernel tells it in units of 512 bytes whatever the namespace is "
     "formatted with; node_nvme_namespace_capacity_bytes takes them for logical blocks, and is 8 times too large with "
     "blocks of 4 KiB.",
     "device,nsid", "bytes", "/sys/class/nvme/*/nvme*n*/size"},
};
constexpr const MetricDesc& kInfo = row(kMetrics, "node_nvme_info");
constexpr const MetricDesc& kNamespaceInfo = row(kMetrics, "node_nvme_namespace_info");
constexpr const MetricDesc& kCapacity = row(kMetrics, "node_nvme_namespace_capacity_bytes");
constexpr const MetricDesc& kSize = row(kMetrics, "node_nvme_namespace_size_bytes");
constexpr const MetricDesc& kUsed = row(kMetrics, "node_nvme_namespace_used_bytes");
constexpr const MetricDesc& kBlockSize = row(kMetrics, "node_nvme_namespace_logical_block_size_bytes");
constexpr const MetricDesc& kTrueCapacity = row(kMetrics, "vitald_nvme_namespace_capacity_bytes");
constexpr double kSectorBytes = 512;  // of `size`, as of all block devices (Documentation/ABI/stable/sysfs-block)
constexpr std::string_view kTexts[] = {"firmware_rev", "model", "serial", "state", "cntlid"};

// What a controller has below it; only namespaces are read.
struct Namespace {
  explicit Namespace(const std::string& path)
      : used(path + "/nuse"),
        size(path + "/size"),
        block(path + "/queue/logical_block_size"),
        ana_state(path + "/ana_state"),
        nsid(path + "/nsid") {}
  Attribute used, size, block, ana_state, nsid;
};
struct Device {
  explicit Device(const std::string& path) : power(path + "/device"), children(path) {
    for (const auto f : kTexts) texts.emplace_back(path + "/" + std::string(f));
  }
  std::vector<Attribute> texts;
  PowerState power;
  KernelItems<Namespace> children;
};

// "nvme0n1" gives "1", "nvme0c1n2" (a path of a multipath namespace) gives "2"; else empty. The kernel counts
// namespaces as it finds them (instances); the controller's own number is in the file `nsid`.
std::string_view instance(std::string_view name) {
  if (!take_prefix(name, "nvme") || !take_u64(name)) return {};
  if (take_prefix(name, "c") && !take_u64(name)) return {};
  if (!take_prefix(name, "n") || !parse_u64(name)) return {};
  return name;
}

class Nvme final : public Collector {
 public:
  explicit Nvme(const Host& host) : devices_(host.sysfs("class/nvme")) {}

  Result<> collect(BatchWriter& out) override {
    if (auto listed = devices_.refresh(); !listed) return absent_when_gone(listed.error());
    for (auto& [name, device] : devices_.items()) {
      std::string_view labels[1 + std::size(kTexts)] = {name};
      for (std::size_t i = 0; i < std::size(kTexts); ++i)
        labels[1 + i] = texts_[i].assign(device.texts[i].text().value_or(""));
      out.set_values(kInfo, 1, labels);
      if (auto listed = device.children.refresh(); !listed) continue;  // unplugged since
      for (auto& [child, files] : device.children.items())
        if (const auto number = instance(child); !number.empty()) {
          id_.assign(number);
          if (const auto told = files.nsid.u64()) id_.assign(Decimal(*told));
          emit(name, id_, files, device.power.asleep(), out);
        }
    }
    return {};
  }

 private:
  // Both sizes are in logical blocks for node_exporter, and so here; the kernel's `size` is in 512 bytes. `nuse`
  // is there since 6.8; without it node_exporter 1.12 says nothing about any NVMe device.
  // Reading that one asks the drive (nvme_ns_head_update_nuse, drivers/nvme/host/sysfs.c).
  static void emit(std::string_view device, std::string_view id, Namespace& files, bool asleep, BatchWriter& out) {
    const auto block = number_of(files.block, out), size = number_of(files.size, out);
    const auto used = asleep ? std::nullopt : number_of(files.used, out);
    out.set(kNamespaceInfo, 1, device, id, files.ana_state.text().value_or("unknown"));
    if (size) out.set(kTrueCapacity, *size * kSectorBytes, device, id);
    if (!block) return;
    if (size) {
      out.set(kCapacity, *size * *block, device, id);
      out.set(kSize, *size * *block, device, id);
    }
    if (used) out.set(kUsed, *used * *block, device, id);
    out.set(kBlockSize, *block, device, id);
  }

  KernelItems<Device> devices_;
  std::array<std::string, std::size(kTexts)> texts_;  // of the device at hand; kept for their memory
  std::string id_;                                    // of the namespace at hand; likewise
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Nvme>(host); }

}  // namespace

extern const CollectorInfo collector_nvme;
const CollectorInfo collector_nvme{kMetrics, {}, make};

}  // namespace vitald
