// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_softirqs_functions_total", counter, "Softirq counts per CPU.", "cpu,type", "", "/proc/softirqs"},
};

class Softirqs final : public Collector {
 public:
  explicit Softirqs(const Host& host) : file_(host.procfs("softirqs")) {}

  // "                    CPU0       CPU1", then "          HI:          7          1"
  Result<> collect(BatchWriter& out) override {
    const auto text = file_.read();
    if (!text) return fail(text.error());
    std::string_view rest = *text;
    take_line(rest);
    while (!rest.empty()) {
      const auto line = take_line(rest);
      std::string_view words = line;
      const auto type = trim(take_until(words, ':'));
      for (unsigned cpu = 0; !trim(words).empty(); ++cpu) {
        const auto n = take_u64(words);
        if (!n) return malformed(file_.path(), line, "a number per CPU");
        out.set(kMetrics[0], static_cast<double>(*n), Decimal(cpu), type);
      }
    }
    return {};
  }

 private:
  KernelFile file_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Softirqs>(host); }

}  // namespace

extern const CollectorInfo collector_softirqs;
const CollectorInfo collector_softirqs{kMetrics, {}, make};

}  // namespace vitald
