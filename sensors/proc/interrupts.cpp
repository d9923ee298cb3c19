// SPDX-License-Identifier: Apache-2.0
// Interrupts of each kind on each CPU, from /proc/interrupts.
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/cpu_header.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"
#include "sensors/read/name_filter.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kInterrupts{"node_interrupts_total", counter, "Interrupt details.",
                                 "cpu,type,info,devices", "",      "/proc/interrupts"};
constexpr FlagSpec kFlags[] = {
    {"collector.interrupts.name-include", FlagType::pattern, "",
     "Regexp of interrupts name to include (mutually exclusive to --collector.interrupts.name-exclude)."},
    {"collector.interrupts.name-exclude", FlagType::pattern, "",
     "Regexp of interrupts name to exclude (mutually exclusive to --collector.interrupts.name-include)."},
    {"collector.interrupts.include-zeros", FlagType::boolean, "true", "Include interrupts that have a zero value"},
};

class Interrupts final : public Collector {
 public:
  Interrupts(const Host& host, NameFilter filter, bool zeros)
      : filter_(std::move(filter)), zeros_(zeros), file_(host.procfs("interrupts"), KernelFile::Read::records) {}

  // "           CPU0       CPU2": a column for each CPU that is online, and which these are
  // "  1:      10490        188  IR-IO-APIC-edge      i8042"
  // "NMI:         47       6713   Non-maskable interrupts"
  // "EXT:      38511      26219 " of s390x says no more than its name.
  // "ERR:          0", "BAD:          0" (powerpc), "FIQ:              usb_fiq" (arm) have no column per CPU and are
  // left out.
  Result<> collect(BatchWriter& out) override {
    const auto text = file_.read();
    if (!text) return fail(text.error());
    if (text->empty()) return malformed(file_.path(), "", "a line of CPUs");
    std::string_view rest = *text;
    const auto header = take_line(rest);
    if (!header_.read(header)) return malformed(file_.path(), header, "a line of CPUs");
    const auto names = header_.cpus();
    const std::size_t cpus = names.size();
    counts_.resize(cpus);
    LeftOut left_out;
    for (std::size_t row = 0; !rest.empty();) {
      const auto whole = take_line(rest);
      if (trim(whole).empty()) continue;
      std::string_view line = whole;
      const auto name = trim(take_until(line, ':'));
      std::size_t n = 0;
      for (; n < cpus; ++n) {
        const auto count = take_u64(line);
        if (!count) break;
        counts_[n] = *count;
      }
      const bool torn = !line.empty() && !is_blank(line.front());
      line = trim(line);
      // A number more than CPUs: nobody knows whose they are.
      const auto behind = line.substr(0, line.find_first_of(" \t"));
      const bool of_no_cpu = n == 1 && line.empty() && (cpus > 1 || is_total(name));
      if (of_no_cpu || (n == 0 && name == "FIQ")) continue;
      if (n < cpus || torn || parse_u64(behind)) {
        left_out.add(malformed(file_.path(), whole, "a number per CPU and what it is"));
        continue;
      }
      const Source& source = source_of(row++, name, line);
      if (source.ignored) continue;
      for (std::size_t cpu = 0; cpu < cpus; ++cpu)
        if (zeros_ || counts_[cpu] != 0)
          out.set(kInterrupts, static_cast<double>(counts_[cpu]), names[cpu], source.name, source.info, source.devices);
    }
    return left_out.outcome();
  }

 private:
  // What the words around the numbers mean; the same as last time as long as no driver comes or goes.
  struct Source {
    std::string name, words, info, devices;
    bool ignored = false;
  };

  // With one CPU these look like one of its own.
  static bool is_total(std::string_view name) {
    return name == "ERR" || name == "Err" || name == "MIS" || name == "BAD";
  }

  const Source& source_of(std::size_t row, std::string_view name, std::string_view words) {
    if (row >= sources_.size()) sources_.resize(row + 1);
    Source& source = sources_[row];
    if (source.name == name && source.words == words) return source;
    source = Source{std::string(name), std::string(words), "", "", false};
    std::string_view rest = source.words;
    if (parse_i64(name)) source.info = take_word(rest);
    std::string& joined = parse_i64(name) ? source.devices : source.info;
    for (auto word = take_word(rest); !word.empty(); word = take_word(rest)) {
      if (!joined.empty()) joined += ' ';
      joined += word;
    }
    source.ignored = filter_.ignored(source.name + ";" + source.info + ";" + source.devices);
    return source;
  }

  NameFilter filter_;
  bool zeros_;
  KernelFile file_;
  CpuHeader header_;
  std::vector<std::uint64_t> counts_;
  std::vector<Source> sources_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto filter =
      NameFilter::exclusive(options, "collector.interrupts.name-exclude", "collector.interrupts.name-include");
  if (!filter) return fail(filter.error());
  return std::make_unique<Interrupts>(host, std::move(*filter), options.flag("collector.interrupts.include-zeros"));
}

}  // namespace

extern const CollectorInfo collector_interrupts;
const CollectorInfo collector_interrupts{std::span(&kInterrupts, 1), kFlags, make};

}  // namespace vitald
