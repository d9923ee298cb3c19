// SPDX-License-Identifier: Apache-2.0
// Hardware watchdogs and their timeouts, from /sys/class/watchdog.
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

constexpr AttributeRow kRows[] = {
    {"bootstatus",
     {"node_watchdog_bootstatus", gauge, "Value of /sys/class/watchdog/<watchdog>/bootstatus", "name", "",
      "/sys/class/watchdog/*/bootstatus"}},
    {"fw_version",
     {"node_watchdog_fw_version", gauge, "Value of /sys/class/watchdog/<watchdog>/fw_version", "name", "",
      "/sys/class/watchdog/*/fw_version"}},
    {"nowayout",
     {"node_watchdog_nowayout", gauge, "Value of /sys/class/watchdog/<watchdog>/nowayout", "name", "",
      "/sys/class/watchdog/*/nowayout"}},
    {"timeleft",
     {"node_watchdog_timeleft_seconds", gauge, "Value of /sys/class/watchdog/<watchdog>/timeleft", "name", "seconds",
      "/sys/class/watchdog/*/timeleft"}},
    {"timeout",
     {"node_watchdog_timeout_seconds", gauge, "Value of /sys/class/watchdog/<watchdog>/timeout", "name", "seconds",
      "/sys/class/watchdog/*/timeout"}},
    {"pretimeout",
     {"node_watchdog_pretimeout_seconds", gauge, "Value of /sys/class/watchdog/<watchdog>/pretimeout", "name",
      "seconds", "/sys/class/watchdog/*/pretimeout"}},
    {"access_cs0",
     {"node_watchdog_access_cs0", gauge, "Value of /sys/class/watchdog/<watchdog>/access_cs0", "name", "",
      "/sys/class/watchdog/*/access_cs0"}},
};
constexpr MetricDesc kMetrics[] = {
    {"node_watchdog_info", gauge, "Info of /sys/class/watchdog/<watchdog>",
     "name,options,identity,state,status,pretimeout_governor", "", "/sys/class/watchdog/*"},
};
constexpr const MetricDesc& kInfo = row(kMetrics, "node_watchdog_info");
constexpr std::string_view kTexts[] = {"options", "identity", "state", "status", "pretimeout_governor"};
constexpr auto kFamilies = families_of(kMetrics, kRows);

struct Timer {
  explicit Timer(const std::string& path) : numbers(path, kRows) {
    for (const auto f : kTexts) texts.emplace_back(path + "/" + std::string(f));
  }
  AttributeTable numbers;
  std::vector<Attribute> texts;
};

class Watchdog final : public Collector {
 public:
  explicit Watchdog(const Host& host) : timers_(host.sysfs("class/watchdog")) {}

  Result<> collect(BatchWriter& out) override {
    if (auto listed = timers_.refresh(); !listed) return absent_when_gone(listed.error());
    for (auto& [name, timer] : timers_.items()) {
      timer.numbers.emit(out, name);
      std::string_view labels[1 + std::size(kTexts)] = {name};
      for (std::size_t i = 0; i < std::size(kTexts); ++i)
        labels[1 + i] = texts_[i].assign(timer.texts[i].text().value_or(""));
      out.set_values(kInfo, 1, labels);
    }
    return {};
  }

 private:
  KernelItems<Timer> timers_;
  std::array<std::string, std::size(kTexts)> texts_;  // of the timer at hand; kept for their memory
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Watchdog>(host); }

}  // namespace

extern const CollectorInfo collector_watchdog;
const CollectorInfo collector_watchdog{kFamilies, {}, make};

}  // namespace vitald
