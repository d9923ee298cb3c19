// SPDX-License-Identifier: Apache-2.0
#include "sensors/virt/kubevirt.h"

#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <string>
#include <vector>

#include "core/text/scan.h"

namespace vitald::virt {
namespace {

using namespace kubevirt;

constexpr std::string_view kVcpuStates[] = {"offline", "running", "blocked"};

// The name that KubeVirt gave the device ("ua-disk0" in the XML), else the device's own.
template <class Info>
std::string_view device_name(std::span<const Info> infos, std::string_view target) {
  for (const auto& info : infos) {
    std::string_view alias = info.alias;
    if (info.target == target && take_prefix(alias, "ua-") && !alias.empty()) return alias;
  }
  return target;
}

class Emitter {
 public:
  Emitter(BatchWriter& out, const Guest& guest, std::string_view node) : out_(out), guest_(guest) {
    // Kubernetes has '_' in no name.
    std::string_view whole = guest.name;
    const auto bar = whole.find('_');
    labels_.push_back({"node", node});
    if (bar != std::string_view::npos) labels_.push_back({"namespace", whole.substr(0, bar)});
    labels_.push_back({"name", bar == std::string_view::npos ? whole : whole.substr(bar + 1)});
    own_ = labels_.size();
  }

  void emit() {
    names(kKubevirtGuest, guest_.numbers.values, {});
    for (std::size_t n = 0; n < guest_.vcpus.size(); ++n) {
      const auto& values = guest_.vcpus[n].numbers.values;
      const Decimal id(n);
      const double state = values[row_of<kVcpuRows>("state")], time = values[row_of<kVcpuRows>("time")];
      const auto known = state >= 0 && state < static_cast<double>(std::size(kVcpuStates));
      if (!std::isnan(time))
        set(kKubevirtVcpuSeconds, time / kNs,
            {{"id", id}, {"state", known ? kVcpuStates[static_cast<std::size_t>(state)] : "unknown"}});
      names(kKubevirtVcpu, values, {{"id", id}});
    }
    for (const auto& block : guest_.blocks)
      if (!block.name.empty())
        names(kKubevirtDrive, block.numbers.values,
              {{"drive", device_name(std::span<const DiskInfo>(guest_.info.disks), block.name)}});
    for (const auto& net : guest_.nets)
      if (!net.name.empty())
        names(kKubevirtNic, net.numbers.values,
              {{"interface", device_name(std::span<const NicInfo>(guest_.info.nics), net.name)}});
  }

 private:
  void set(const MetricDesc& desc, double value, std::initializer_list<Label> more) {
    labels_.resize(own_);
    labels_.insert(labels_.end(), more);
    out_.set_labels(desc, value, labels_);
  }
  void names(std::span<const KubevirtName> all, std::span<const double> values, std::initializer_list<Label> more) {
    for (const auto& n : all)
      if (!std::isnan(values[n.row])) set(n.desc, values[n.row] / n.per, more);
  }

  BatchWriter& out_;
  const Guest& guest_;
  std::vector<Label> labels_;
  std::size_t own_ = 0;
};

}  // namespace

void emit_kubevirt(BatchWriter& out, const Guest& guest, std::string_view node) { Emitter(out, guest, node).emit(); }

}  // namespace vitald::virt
