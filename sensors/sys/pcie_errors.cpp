// SPDX-License-Identifier: Apache-2.0
// Errors that PCI Express devices reported (advanced error reporting), counted by the kernel in
// /sys/bus/pci/devices/*/aer_dev_*. Reading them asks no device and wakes none.
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/collector.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

constexpr MetricDesc kErrors{
    "vitald_pcie_errors_total",
    MetricType::counter,
    "Errors that a PCI Express device has reported, by severity: correctable ones the link has mended, nonfatal ones "
    "cost a transaction, fatal ones the link.",
    "device,severity",
    "",
    "/sys/bus/pci/devices/*/aer_dev_{correctable,nonfatal,fatal}"};

struct Kind {
  std::string_view file, total, severity;
};
constexpr Kind kKinds[] = {{"aer_dev_correctable", "TOTAL_ERR_COR ", "correctable"},
                           {"aer_dev_nonfatal", "TOTAL_ERR_NONFATAL ", "nonfatal"},
                           {"aer_dev_fatal", "TOTAL_ERR_FATAL ", "fatal"}};

struct Device {
  explicit Device(const std::string& path)
      : files{Attribute(path + "/aer_dev_correctable"), Attribute(path + "/aer_dev_nonfatal"),
              Attribute(path + "/aer_dev_fatal")} {}
  std::array<Attribute, 3> files;
};

// "Receiver Error 0\n...\nTOTAL_ERR_COR 3"
std::optional<std::uint64_t> total_of(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    auto line = take_line(text);
    if (take_prefix(line, name)) return parse_u64(trim(line));
  }
  return std::nullopt;
}

class PcieErrors final : public Collector {
 public:
  explicit PcieErrors(const Host& host) : devices_(host.sysfs("bus/pci/devices")) {}

  Result<> collect(BatchWriter& out) override {
    if (const auto listed = devices_.refresh(); !listed) return absent_when_gone(listed.error());
    any_ = false;
    for (auto& device : devices_.items())
      for (std::size_t i = 0; i < std::size(kKinds); ++i) {
        auto& file = device.value.files[i];
        const auto text = file.text();
        if (!text) {
          if (auto why = file.no_number()) out.problem(std::move(*why));
          continue;
        }
        any_ = true;
        if (const auto total = total_of(*text, kKinds[i].total))
          out.set(kErrors, static_cast<double>(*total), device.name, kKinds[i].severity);
        else out.problem(malformed(file.path(), *text, "a line with its total").value());
      }
    return {};
  }
  [[nodiscard]] bool any() const { return any_; }

 private:
  KernelItems<Device> devices_;
  bool any_ = false;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  auto collector = std::make_unique<PcieErrors>(host);
  BatchWriter nowhere("pcie_errors");
  nowhere.begin(0);
  if (auto ok = collector->collect(nowhere); !ok) return fail(ok.error());
  if (!collector->any())
    return fail(Errc::absent,
                host.sysfs("bus/pci/devices") + "/*/aer_dev_*: no device reports its errors to the kernel");
  return collector;
}

}  // namespace

extern const CollectorInfo collector_pcie_errors;
const CollectorInfo collector_pcie_errors{std::span(&kErrors, 1), {}, make};

}  // namespace vitald
