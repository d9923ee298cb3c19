// SPDX-License-Identifier: Apache-2.0
// Maker, model and serial numbers of the machine, from /sys/class/dmi/id.
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_dmi_info", gauge,
     "A metric with a constant '1' value labeled by bios_date, bios_release, bios_vendor, bios_version, "
     "board_asset_tag, board_name, board_serial, board_vendor, board_version, chassis_asset_tag, chassis_serial, "
     "chassis_vendor, chassis_version, product_family, product_name, product_serial, product_sku, product_uuid, "
     "product_version, system_vendor if provided by DMI.",
     "bios_date,bios_release,bios_vendor,bios_version,board_asset_tag,board_name,board_serial,board_vendor,board_"
     "version,"
     "chassis_asset_tag,chassis_serial,chassis_vendor,chassis_version,product_family,product_name,product_serial,"
     "product_sku,product_uuid,product_version,system_vendor",
     "", "/sys/class/dmi/id"},
};
constexpr const MetricDesc& kInfo = row(kMetrics, "node_dmi_info");
constexpr std::string_view kFiles[] = {"bios_date",       "bios_release",      "bios_vendor",     "bios_version",
                                       "board_asset_tag", "board_name",        "board_serial",    "board_vendor",
                                       "board_version",   "chassis_asset_tag", "chassis_serial",  "chassis_vendor",
                                       "chassis_version", "product_family",    "product_name",    "product_serial",
                                       "product_sku",     "product_uuid",      "product_version", "sys_vendor"};

// The firmware's tables do not change while the kernel runs, but who may read them does, and a container's /sys may be
// mounted late: read once a minute.
class Dmi final : public Collector {
 public:
  explicit Dmi(const Host& host) : host_(host) {}

  Result<> collect(BatchWriter& out) override {
    const auto now_ns = host_.clock().boot_ns();
    if (labels_.empty() || now_ns - read_ns_ > kRereadNs) {
      read_ns_ = now_ns;
      read();
    }
    if (labels_.empty()) return fail(Errc::absent, "/sys/class/dmi/id: nothing to read; this machine has no DMI");
    out.set_labels(kInfo, 1, labels_);
    return {};
  }

 private:
  static constexpr std::int64_t kRereadNs = 60'000'000'000;

  void read() {
    texts_.clear();
    labels_.clear();
    for (const auto file : kFiles) {
      const auto text = read_kernel_file(host_.sysfs("class/dmi/id/" + std::string(file)));
      // Serial numbers are for root alone; other files depend on the firmware.
      if (text) texts_.emplace_back(file == "sys_vendor" ? "system_vendor" : file, trim(*text));
    }
    for (const auto& [name, value] : texts_) labels_.push_back({name, value});
  }

  const Host& host_;
  std::int64_t read_ns_ = 0;
  std::vector<std::pair<std::string, std::string>> texts_;
  std::vector<Label> labels_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Dmi>(host); }

}  // namespace

extern const CollectorInfo collector_dmi;
const CollectorInfo collector_dmi{kMetrics, {}, make};

}  // namespace vitald
