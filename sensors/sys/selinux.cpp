// SPDX-License-Identifier: Apache-2.0
// Whether SELinux is on and what it enforces, from /sys/fs/selinux and its configuration.
#include <sys/statfs.h>
#include <string>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/os/root_path.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_selinux_enabled", gauge, "SELinux is enabled, 1 is true, 0 is false", "", "", "/sys/fs/selinux"},
    {"node_selinux_config_mode", gauge, "Configured SELinux enforcement mode", "", "", "/etc/selinux/config"},
    {"node_selinux_current_mode", gauge, "Current SELinux enforcement mode", "", "", "/sys/fs/selinux/enforce"},
};
constexpr const MetricDesc& kEnabled = row(kMetrics, "node_selinux_enabled");
constexpr const MetricDesc& kConfigMode = row(kMetrics, "node_selinux_config_mode");
constexpr const MetricDesc& kCurrentMode = row(kMetrics, "node_selinux_current_mode");
enum Mode { kDisabled = -1, kPermissive = 0, kEnforcing = 1 };

// "SELINUX=enforcing"; without the file it is disabled
Result<Mode> configured_mode(const std::string& path) {
  const auto text = read_kernel_file(path);
  if (!text && text.error().kind != Errc::gone) return fail(text.error());
  if (!text) return kDisabled;
  for (std::string_view rest = *text; !rest.empty();) {
    auto line = trim(take_line(rest));
    if (!take_prefix(line, "SELINUX=")) continue;
    line = trim(line);
    return line == "enforcing" ? kEnforcing : line == "permissive" ? kPermissive : kDisabled;
  }
  return kDisabled;
}

class Selinux final : public Collector {
 public:
  explicit Selinux(const Host& host) : host_(host), enforce_(host.sysfs("fs/selinux/enforce")) {}

  // /sys/fs/selinux/enforce: "1"
  Result<> collect(BatchWriter& out) override {
    const auto now_ns = host_.clock().boot_ns();
    if (now_ns < look_again_ns_) {
      out.set(kEnabled, 0);
      return {};
    }
    const auto text = enforce_.read();
    const bool there = text || text.error().kind != Errc::gone;
    out.set(kEnabled, there);
    if (!there) {
      look_again_ns_ = now_ns + kLookAgainNs;
      return {};
    }
    LeftOut left_out;
    const auto enforcing = text ? parse_u64(trim(*text)) : std::nullopt;
    if (!text) left_out.add(text.error());
    else if (!enforcing || *enforcing > 1) left_out.add(malformed(enforce_.path(), trim(*text), "0 or 1"));
    const auto configured = configured_mode(path_below_root(host_.roots().root, "/etc/selinux/config"));
    if (configured) out.set(kConfigMode, *configured);
    else left_out.add(configured.error());
    if (enforcing && *enforcing <= 1) out.set(kCurrentMode, *enforcing == 1 ? kEnforcing : kPermissive);
    return left_out.outcome();
  }

 private:
  // A kernel gets SELinux when it boots: that there is none is not looked for in every scrape.
  static constexpr std::int64_t kLookAgainNs = 5'000'000'000;
  const Host& host_;
  KernelFile enforce_;
  std::int64_t look_again_ns_ = 0;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Selinux>(host); }

}  // namespace

extern const CollectorInfo collector_selinux;
const CollectorInfo collector_selinux{kMetrics, {}, make};

}  // namespace vitald
