// SPDX-License-Identifier: Apache-2.0
// NVMe subsystems and the states of their paths, from /sys/class/nvme-subsystem.
#include <array>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr std::string_view kSource = "/sys/class/nvme-subsystem/*";
constexpr MetricDesc kMetrics[] = {
    {"node_nvmesubsystem_info", gauge, "Non-numeric information about an NVMe subsystem.",
     "subsystem,nqn,model,serial,iopolicy", "", kSource},
    {"node_nvmesubsystem_namespace_info", gauge, "Maps an NVMe namespace block device to its subsystem.",
     "subsystem,device", "", kSource},
    {"node_nvmesubsystem_paths", gauge, "Number of controller paths for an NVMe subsystem.", "subsystem", "", kSource},
    {"node_nvmesubsystem_paths_live", gauge, "Number of controller paths in live state for an NVMe subsystem.",
     "subsystem", "", kSource},
    {"node_nvmesubsystem_path_state", gauge,
     "Current NVMe controller path state (1 for the current state, 0 for all others).",
     "subsystem,controller,transport,state", "", kSource},
};
constexpr const MetricDesc& kInfo = row(kMetrics, "node_nvmesubsystem_info");
constexpr const MetricDesc& kNamespaceInfo = row(kMetrics, "node_nvmesubsystem_namespace_info");
constexpr const MetricDesc& kPaths = row(kMetrics, "node_nvmesubsystem_paths");
constexpr const MetricDesc& kPathsLive = row(kMetrics, "node_nvmesubsystem_paths_live");
constexpr const MetricDesc& kPathState = row(kMetrics, "node_nvmesubsystem_path_state");
constexpr std::string_view kTexts[] = {"subsysnqn", "model", "serial", "iopolicy"};
constexpr std::string_view kStates[] = {"connecting", "dead", "deleting", "live", "new", "resetting", "unknown"};

// A controller (nvme0), a namespace (nvme0n1) or a file of the subsystem.
struct Member {
  explicit Member(const std::string& path) : state(path + "/state"), transport(path + "/transport") {}
  Attribute state, transport;
};
struct Subsystem {
  explicit Subsystem(const std::string& path) : members(path) {
    for (const auto f : kTexts) texts.emplace_back(path + "/" + std::string(f));
  }
  std::vector<Attribute> texts;
  KernelItems<Member> members;
};

bool is_controller(std::string_view name) { return take_prefix(name, "nvme") && parse_u64(name); }
bool is_namespace(std::string_view name) {
  return take_prefix(name, "nvme") && take_u64(name) && take_prefix(name, "n") && parse_u64(name);
}

class Nvmesubsystem final : public Collector {
 public:
  explicit Nvmesubsystem(const Host& host) : subsystems_(host.sysfs("class/nvme-subsystem")) {}

  Result<> collect(BatchWriter& out) override {
    if (auto listed = subsystems_.refresh(); !listed) return absent_when_gone(listed.error());
    for (auto& [name, subsystem] : subsystems_.items()) {
      if (!name.starts_with("nvme-subsys")) continue;
      std::string_view labels[1 + std::size(kTexts)] = {name};
      for (std::size_t i = 0; i < std::size(kTexts); ++i)
        labels[1 + i] = texts_[i].assign(subsystem.texts[i].text().value_or(""));
      out.set_values(kInfo, 1, labels);
      if (auto listed = subsystem.members.refresh(); !listed) continue;  // gone since
      unsigned paths = 0, live = 0;
      for (auto& [member, files] : subsystem.members.items()) {
        if (is_namespace(member)) out.set(kNamespaceInfo, 1, name, member);
        if (!is_controller(member)) continue;
        ++paths;
        if (emit_state(name, member, files, out) == "live") ++live;
      }
      out.set(kPaths, paths, name);
      out.set(kPathsLive, live, name);
    }
    return {};
  }

 private:
  // "live", "deleting (no IO)" (nvme_sysfs_show_state, drivers/nvme/host/sysfs.c)
  std::string_view emit_state(std::string_view subsystem, std::string_view controller, Member& files,
                              BatchWriter& out) {
    auto text = files.state.text().value_or("");
    if (text == "deleting (no IO)") text = "deleting";
    std::string_view state = "unknown";
    for (const auto known : kStates)
      if (known == text) state = known;
    const auto transport = files.transport.text().value_or("");
    for (const auto known : kStates) out.set(kPathState, known == state, subsystem, controller, transport, known);
    return state;
  }

  KernelItems<Subsystem> subsystems_;
  std::array<std::string, std::size(kTexts)> texts_;  // of the subsystem at hand; kept for their memory
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  return std::make_unique<Nvmesubsystem>(host);
}

}  // namespace

extern const CollectorInfo collector_nvmesubsystem;
const CollectorInfo collector_nvmesubsystem{kMetrics, {}, make};

}  // namespace vitald
