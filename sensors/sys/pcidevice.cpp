// SPDX-License-Identifier: Apache-2.0
// PCI devices, their links and power states, from /sys/bus/pci.
#include <unistd.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"
#include "sensors/read/power_state.h"
#include "sensors/sys/pci_ids.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr std::string_view kSource = "/sys/bus/pci/devices/*";
constexpr MetricDesc kMetrics[] = {
    {"node_pcidevice_max_link_transfers_per_second", gauge, "Value of maximum link's transfers per second (T/s)",
     "segment,bus,device,function", "", kSource},
    {"node_pcidevice_max_link_width", gauge, "Value of maximum link's width (number of lanes)",
     "segment,bus,device,function", "", kSource},
    {"node_pcidevice_current_link_transfers_per_second", gauge, "Value of current link's transfers per second (T/s)",
     "segment,bus,device,function", "", kSource},
    {"node_pcidevice_current_link_width", gauge, "Value of current link's width (number of lanes)",
     "segment,bus,device,function", "", kSource},
    {"node_pcidevice_d3cold_allowed", gauge, "Whether the PCIe device supports D3cold power state (0/1).",
     "segment,bus,device,function", "", kSource},
    {"node_pcidevice_sriov_drivers_autoprobe", gauge,
     "Whether SR-IOV drivers autoprobe is enabled for the device (0/1).", "segment,bus,device,function", "", kSource},
    {"node_pcidevice_sriov_numvfs", gauge, "Number of Virtual Functions (VFs) currently enabled for SR-IOV.",
     "segment,bus,device,function", "", kSource},
    {"node_pcidevice_sriov_totalvfs", gauge, "Total number of Virtual Functions (VFs) supported by the device.",
     "segment,bus,device,function", "", kSource},
    {"node_pcidevice_sriov_vf_total_msix", gauge, "Total number of MSI-X vectors for Virtual Functions.",
     "segment,bus,device,function", "", kSource},
    {"node_pcidevice_power_state", gauge,
     "PCIe device power state, one of: D0, D1, D2, D3hot, D3cold, unknown or error.",
     "segment,bus,device,function,state", "", kSource},
    {"node_pcidevice_numa_node", gauge, "NUMA node number for the PCI device. -1 indicates unknown or not available.",
     "segment,bus,device,function", "", kSource},
    {"node_pcidevice_info", gauge, "Non-numeric data from /sys/bus/pci/devices/<location>, value is always 1.",
     "segment,bus,device,function,parent_segment,parent_bus,parent_device,parent_function,class_id,vendor_id,device_id,"
     "subsystem_vendor_id,subsystem_device_id,revision",
     "", kSource},
};
enum Family {
  kMaxSpeed,
  kMaxWidth,
  kSpeed,
  kWidth,
  kD3cold,
  kAutoprobe,
  kNumvfs,
  kTotalvfs,
  kMsix,
  kPowerState,
  kNumaNode,
  kInfo
};
// In the order of the families.
constexpr std::string_view kFiles[] = {"max_link_speed",     "max_link_width", "current_link_speed",
                                       "current_link_width", "d3cold_allowed", "sriov_drivers_autoprobe",
                                       "sriov_numvfs",       "sriov_totalvfs", "sriov_vf_total_msix",
                                       "power_state",        "numa_node"};
static_assert(std::size(kFiles) == kInfo);
constexpr MetricDesc kInfoWithNames = {
    "node_pcidevice_info",
    gauge,
    kMetrics[kInfo].help,
    "segment,bus,device,function,parent_segment,parent_bus,parent_device,parent_function,class_id,vendor_id,device_id,"
    "subsystem_vendor_id,subsystem_device_id,revision,vendor_name,device_name,subsystem_vendor_name,"
    "subsystem_device_name,class_name",
    "",
    kSource};
// What is declared: the names come with a flag.
constexpr auto kDeclared = [] {
  auto all = std::to_array(kMetrics);
  all[kInfo] = kInfoWithNames;
  return all;
}();
constexpr FlagSpec kFlags[] = {
    {"collector.pcidevice.idsfile", FlagType::text, "", "Path to pci.ids file to use for PCI device identification."},
    {"collector.pcidevice.names", FlagType::boolean, "false",
     "Enable PCI device name resolution (requires pci.ids file)."},
};
constexpr std::string_view kIds[] = {"class", "vendor", "device", "subsystem_vendor", "subsystem_device", "revision"};
constexpr std::string_view kPowerStates[] = {"D0", "D1", "D2", "D3hot", "D3cold", "unknown", "error"};
constexpr double kTransfersPerGiga = 1e9, kUnknownWidth = 255;
constexpr std::size_t kLocationLabels = 4, kMostLabels = 19;

// What a device is does not change: its labels are made when it appears.
struct Device {
  explicit Device(const std::string& path) : folder(path), power(path) {
    for (const auto f : kFiles) files.emplace_back(path + "/" + std::string(f));
  }
  std::string folder;
  PowerState power;
  std::vector<Attribute> files;
  std::vector<std::string> info;  // label values of the info family; the first four are the location
  std::optional<Error> no_revision;
};

// "0000:03:00.1" gives "0000", "03", "00", "1"; false for what is no device, as pci0000:00
bool split_location(std::string_view text, std::vector<std::string>& out) {
  const auto segment = take_until(text, ':'), bus = take_until(text, ':'), device = take_until(text, '.');
  for (const auto part : {segment, bus, device, text})
    if (!parse_int<std::uint32_t>(part, 16)) return false;
  for (const auto part : {segment, bus, device, text}) out.emplace_back(part);
  return true;
}

class Pcidevice final : public Collector {
 public:
  Pcidevice(const Host& host, bool names, std::string ids_file)
      : devices_(host.sysfs("bus/pci/devices")), names_(names), ids_file_(std::move(ids_file)) {}

  Result<> collect(BatchWriter& out) override {
    if (auto listed = devices_.refresh(); !listed) return absent_when_gone(listed.error());
    PciIds ids;
    LeftOut left_out;
    for (auto& [name, device] : devices_.items()) {
      if (device.info.empty()) {
        if (auto described = describe(name, device, ids); !described) {
          if (::access(device.folder.c_str(), F_OK) == 0) left_out.add(described);  // else unplugged since
          continue;
        }
      }
      if (device.no_revision) left_out.add(*device.no_revision);
      emit(device, out);
    }
    return left_out.outcome();
  }

 private:
  // The link: "../../../devices/pci0000:00/0000:00:1c.0/0000:03:00.0"
  Result<> describe(const std::string& name, Device& device, PciIds& ids) {
    std::vector<std::string> labels;
    labels.reserve(kMostLabels);  // the names are found by views of the numbers
    if (!split_location(name, labels)) return malformed(device.folder, name, "segment:bus:device.function");
    const std::string target = read_link(device.folder);
    std::string_view link = target;
    link = link.substr(0, link.rfind('/') == link.npos ? 0 : link.rfind('/'));
    link.remove_prefix(link.rfind('/') == link.npos ? 0 : link.rfind('/') + 1);
    if (!split_location(link, labels)) labels.insert(labels.end(), kLocationLabels, "*");
    for (const auto file : kIds) {
      const auto text = read_kernel_file(device.folder + "/" + std::string(file));
      Result<> read;
      if (!text) read = fail(text.error());
      else if (!trim(*text).starts_with("0x")) read = malformed(device.folder, trim(*text), "a number in hexadecimal");
      if (!read && file != "revision") return read;
      // Not there before Linux 4.10. The rest of the device stands without it.
      if (!read && read.error().kind != Errc::gone) device.no_revision = read.error();
      labels.emplace_back(read ? trim(*text) : std::string_view());
    }
    if (names_) {
      if (auto loaded = ids.load(ids_file_); !loaded) return loaded;
      const std::string* id = &labels[2 * kLocationLabels];
      ids.append_names(id[0], id[1], id[2], id[3], id[4], labels);
    }
    device.info = std::move(labels);
    return {};
  }

  void emit(Device& device, BatchWriter& out) const {
    const auto& info = device.info;
    std::array<std::string_view, kMostLabels> labels;
    for (std::size_t i = 0; i < info.size(); ++i) labels[i] = info[i];
    out.set_values(names_ ? kInfoWithNames : kMetrics[kInfo], 1, std::span(labels).first(info.size()));
    // The link's state is read from the device itself, which newer kernels resume for that (drivers/pci/pci-sysfs.c).
    const bool asleep = device.power.asleep();
    bool speed_known = true;  // of the pair at hand: a speed and behind it its width
    for (const auto family : {kMaxSpeed, kMaxWidth, kSpeed, kWidth}) {
      if (asleep) break;
      // "8.0 GT/s PCIe", "4"; "Unknown", and what is no PCIe link, have no number. Where the speed is not known the
      // width is what the register happens to hold: 0, or 63 of all ones; 255 is PCIE_LNK_WIDTH_UNKNOWN.
      const bool speed = family == kMaxSpeed || family == kSpeed;
      const auto text = device.files[family].text();
      if (speed) speed_known = !text || !text->starts_with("Unknown");
      if (!text) continue;
      std::string_view words = *text;
      const auto number = parse_double(take_word(words));
      if (!number && !text->starts_with("Unknown"))
        out.problem(malformed(device.files[family].path(), *text, "a number").value());
      if (!number || (!speed && (!speed_known || *number == kUnknownWidth))) continue;
      out.set(kMetrics[family], speed ? *number * kTransfersPerGiga : *number, info[0], info[1], info[2], info[3]);
    }
    for (const auto family : {kD3cold, kAutoprobe, kNumvfs, kTotalvfs, kMsix})
      if (const auto n = number_of(device.files[family], out))
        out.set(kMetrics[family], *n, info[0], info[1], info[2], info[3]);
    const auto state = device.files[kPowerState].text();
    if (state && state->empty()) out.problem(malformed(device.files[kPowerState].path(), "", "a state").value());
    if (state && !state->empty())
      for (const auto name : kPowerStates)
        out.set(kMetrics[kPowerState], *state == name, info[0], info[1], info[2], info[3], name);
    if (const auto node = number_of(device.files[kNumaNode], out); node && *node != -1)
      out.set(kMetrics[kNumaNode], *node, info[0], info[1], info[2], info[3]);
  }

  KernelItems<Device> devices_;
  bool names_;
  std::string ids_file_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  return std::make_unique<Pcidevice>(host, options.flag("collector.pcidevice.names"),
                                     std::string(options.text("collector.pcidevice.idsfile")));
}

}  // namespace

extern const CollectorInfo collector_pcidevice;
const CollectorInfo collector_pcidevice{kDeclared, kFlags, make};

}  // namespace vitald
