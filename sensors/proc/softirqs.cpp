// SPDX-License-Identifier: Apache-2.0
// Software interrupts of each kind on each CPU, from /proc/softirqs.
#include <string_view>
#include <vector>

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
      words_.clear();
      for (auto word = take_word(words); !word.empty(); word = take_word(words)) words_.push_back(word);
      // With one more or less nobody knows whose they are.
      bool good = words_.size() == names.size() && !type.empty();
      for (std::size_t i = 0; i < names.size() && words_.size() == names.size() && !type.empty(); ++i) {
        const auto n = parse_u64(words_[i]);
        if (n) out.set(kSoftirqs, static_cast<double>(*n), names[i], type);
        good = good && n;
      }
      if (!good) left_out.add(malformed(file_.path(), line, "a number per CPU"));
    }
    return left_out.outcome();
  }

 private:
  CpuHeader header_;
  std::vector<std::string_view> words_;  // of the row at hand; kept for its memory
  KernelFile file_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Softirqs>(host); }

}  // namespace

extern const CollectorInfo collector_softirqs;
const CollectorInfo collector_softirqs{std::span(&kSoftirqs, 1), {}, make};

}  // namespace vitald
