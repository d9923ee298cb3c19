// SPDX-License-Identifier: Apache-2.0
// How many slaves each bond has and how many have a link, from /sys/class/net.
#include <string>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_bonding_slaves", gauge, "Number of configured slaves per bonding interface.", "master", "",
     "/sys/class/net/*/bonding/slaves"},
    {"node_bonding_active", gauge, "Number of active slaves per bonding interface.", "master", "",
     "/sys/class/net/*/lower_*/bonding_slave/mii_status"},
};

constexpr const MetricDesc& kSlaves = row(kMetrics, "node_bonding_slaves");
constexpr const MetricDesc& kActive = row(kMetrics, "node_bonding_active");

class Bonding final : public Collector {
 public:
  explicit Bonding(const Host& host) : root_(host.sysfs("class/net/")), masters_(root_ + "bonding_masters") {}

  // "bond0 bond1": the file is there when the module is loaded. Bonds are few and rare: their files are
  // not kept open.
  Result<> collect(BatchWriter& out) override {
    const auto text = masters_.read();
    if (!text) return absent_when_gone(text.error());
    LeftOut left_out;
    const std::string masters(*text);
    std::string_view rest = masters;
    for (auto master = take_word(rest); !master.empty(); master = take_word(rest)) {
      const std::string folder = root_ + std::string(master);
      const auto slaves_text = read_kernel_file(folder + "/bonding/slaves");
      if (!slaves_text) {
        left_out.add(slaves_text.error());
        continue;
      }
      const std::string slaves(*slaves_text);
      std::string_view names = slaves;
      unsigned count = 0, active = 0;
      bool known = true;
      for (auto slave = take_word(names); !slave.empty(); slave = take_word(names)) {
        auto state = read_kernel_file(folder + "/lower_" + std::string(slave) + "/bonding_slave/mii_status");
        // Kernels before 3.9 call the link slave_*.
        if (!state && state.error().kind == Errc::gone)
          state = read_kernel_file(folder + "/slave_" + std::string(slave) + "/bonding_slave/mii_status");
        ++count;
        known = known && state;
        if (!state) left_out.add(state.error());
        else if (trim(*state) == "up") ++active;
      }
      out.set(kSlaves, count, master);
      if (known) out.set(kActive, active, master);
    }
    return left_out.outcome();
  }

 private:
  std::string root_;
  KernelFile masters_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Bonding>(host); }

}  // namespace

extern const CollectorInfo collector_bonding;
const CollectorInfo collector_bonding{kMetrics, {}, make};

}  // namespace vitald
