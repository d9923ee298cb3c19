// SPDX-License-Identifier: Apache-2.0
// Which weaknesses the CPU has and what the kernel does about each, from /sys.
#include <algorithm>
#include <string>

#include "core/collector.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kInfo{
    "node_cpu_vulnerabilities_info",
    gauge,
    "Details of each CPU vulnerability reported by sysfs. The value of the series is an int encoded state of the "
    "vulnerability. The same state is stored as a string in the label",
    "codename,state,mitigation",
    "",
    "/sys/devices/system/cpu/vulnerabilities"};

struct File {
  explicit File(const std::string& path) : attribute(path) {}
  Attribute attribute;
};

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && std::ranges::equal(text.substr(0, prefix.size()), prefix, [](char a, char b) {
           return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
         });
}

class CpuVulnerabilities final : public Collector {
 public:
  explicit CpuVulnerabilities(const Host& host) : files_(host.sysfs("devices/system/cpu/vulnerabilities")) {}

  // "Not affected", "Vulnerable: Clear CPU buffers attempted", "Mitigation: PTI", "Unknown: No mitigations"
  Result<> collect(BatchWriter& out) override {
    if (auto listed = files_.refresh(); !listed && listed.error().kind != Errc::gone) return listed;
    LeftOut left_out;
    for (auto& [name, file] : files_.items()) {
      const auto text = file.attribute.text();
      if (!text) {
        const auto* why = file.attribute.unreadable();
        left_out.add(why ? *why : Error{Errc::io, 0, file.attribute.path() + ": cannot be read"});
        continue;
      }
      if (text->empty()) {
        left_out.add(malformed(file.attribute.path(), "", "a state"));
        continue;
      }
      std::string_view state = "unknown";
      std::string_view words = *text;
      for (const std::string_view known : {"not affected", "vulnerable", "mitigation", "unknown"}) {
        if (!starts_with_ignoring_case(*text, known)) continue;
        state = known;
        take_word(words);
        break;
      }
      // node_exporter knows the first word only. Of these the whole text stays the mitigation, as there.
      if (state == "unknown" && (*text == "KVM: Vulnerable" || *text == "Processor vulnerable")) state = "vulnerable";
      mitigation_.clear();
      if (state != "not affected")
        for (auto word = take_word(words); !word.empty(); word = take_word(words)) {
          if (!mitigation_.empty()) mitigation_ += ' ';
          mitigation_ += word;
        }
      out.set(kInfo, 1, name, state, mitigation_);
    }
    return left_out.outcome();
  }

 private:
  KernelItems<File> files_;
  std::string mitigation_;  // of the file at hand; kept for its memory
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  return std::make_unique<CpuVulnerabilities>(host);
}

}  // namespace

extern const CollectorInfo collector_cpu_vulnerabilities;
const CollectorInfo collector_cpu_vulnerabilities{std::span(&kInfo, 1), {}, make};

}  // namespace vitald
