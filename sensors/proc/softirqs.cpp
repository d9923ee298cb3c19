// SPDX-License-Identifier: Apache-2.0
#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/cpu_header.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kSoftirqs{
    "node_softirqs_functions_total", counter, "Softirq counts per CPU.", "cpu,type", "", "/proc/softirqs"};

class Softirqs final : public Collector {
 public:
  explicit Softirqs(const Host& host) : file_(host.procfs("softirqs")) {}

  // "                    CPU0       CPU1", then "          HI:          7          1"
  Result<> collect(BatchWriter& out) override {
    const auto text = file_.read();
    if (!text) return fail(text.error());
    std::string_view rest = *text;
    if (rest.empty()) return malformed(file_.path(), "", "a line of CPUs");
    const auto header = take_line(rest);
    if (!header_.read(header)) return malformed(file_.path(), header, "a line of CPUs");
    const auto names = header_.cpus();
    LeftOut left_out;
    while (!rest.empty()) {
      const auto line = take_line(rest);
      std::string_view words = line;
      const auto type = trim(take_until(words, ':'));
      for (std::size_t i = 0; !trim(words).empty(); ++i) {
        const auto n = take_u64(words);
        if (!n || i >= names.size()) {
          left_out.add(malformed(file_.path(), line, "a number per CPU"));
          break;
        }
        out.set(kSoftirqs, static_cast<double>(*n), names[i], type);
      }
    }
    return left_out.outcome();
  }

 private:
  CpuHeader header_;
  KernelFile file_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Softirqs>(host); }

}  // namespace

extern const CollectorInfo collector_softirqs;
const CollectorInfo collector_softirqs{std::span(&kSoftirqs, 1), {}, make};

}  // namespace vitald
