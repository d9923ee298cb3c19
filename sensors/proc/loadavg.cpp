// SPDX-License-Identifier: Apache-2.0
// The load averages of /proc/loadavg.
#include <fmt/format.h>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr MetricDesc kMetrics[] = {
    {"node_load1", MetricType::gauge, "1m load average.", "", "", "/proc/loadavg"},
    {"node_load5", MetricType::gauge, "5m load average.", "", "", "/proc/loadavg"},
    {"node_load15", MetricType::gauge, "15m load average.", "", "", "/proc/loadavg"},
};

class Loadavg final : public Collector {
 public:
  explicit Loadavg(const Host& host) : file_(host.procfs("loadavg")) {}

  // "0.02 0.04 0.05 1/497 11947"
  Result<> collect(BatchWriter& out) override {
    const auto text = file_.read();
    if (!text) return fail(text.error());
    std::string_view rest = *text;
    for (const auto& desc : kMetrics) {
      const auto load = parse_double(take_word(rest));
      if (!load)
        return fail(Errc::malformed, fmt::format("{}: '{}': three load averages expected", file_.path(), trim(*text)));
      out.set(desc, *load);
    }
    return {};
  }

 private:
  KernelFile file_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Loadavg>(host); }

}  // namespace

extern const CollectorInfo collector_loadavg;
const CollectorInfo collector_loadavg{kMetrics, {}, make};

}  // namespace vitald
