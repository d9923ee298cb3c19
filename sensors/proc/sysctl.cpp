// SPDX-License-Identifier: Apache-2.0
// Those values of /proc/sys that the configuration names.
#include <fmt/format.h>
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/names.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_sysctl_info", gauge, "sysctl info", "name,value,index", "", "/proc/sys"},
    {"node_sysctl_*", untyped, "*", "", "", "/proc/sys"},
};
constexpr const MetricDesc& kInfo = row(kMetrics, "node_sysctl_info");
constexpr FlagSpec kFlags[] = {
    {"collector.sysctl.include", FlagType::list, "", "Select sysctl metrics to include"},
    {"collector.sysctl.include-info", FlagType::list, "", "Select sysctl metrics to include as info metrics"},
};

struct Sysctl {
  std::string name;
  KernelFile file;
  bool numeric;
  std::vector<std::string> keys;  // a name for each number, or empty
  const MetricDesc *single = nullptr, *indexed = nullptr;
  std::vector<const MetricDesc*> keyed;
};

// A limit may be as large as an unsigned long gets: kernel.shmmax is 18446744073692774399 as a default.
std::optional<double> number(std::string_view word) {
  if (const auto n = parse_i64(word)) return static_cast<double>(*n);
  if (const auto n = parse_u64(word)) return static_cast<double>(*n);
  return std::nullopt;
}

class SysctlCollector final : public Collector {
 public:
  SysctlCollector(const Host& host, const Options& options) {
    for (const auto& flag : options.list("collector.sysctl.include")) add(host, flag, true);
    for (const auto& flag : options.list("collector.sysctl.include-info")) add(host, flag, false);
  }

  Result<> collect(BatchWriter& out) override {
    out.use(pool_);
    out.use(singles_);
    LeftOut left_out;
    for (auto& sysctl : sysctls_) left_out.add(collect(sysctl, out));
    return left_out.outcome();
  }

 private:
  // "kernel.threads-max", or "fs.file-nr:total,current,max"
  void add(const Host& host, std::string_view flag, bool numeric) {
    std::string_view keys = flag;
    Sysctl s;
    s.name = take_until(keys, ':');
    s.numeric = numeric;
    // As sysctl(8) takes it, by what comes first: "net/ipv4/conf/eth0.100/forwarding" is a path, and
    // "net.ipv4.conf.eth0/100.forwarding" is the same with each for the other.
    std::string path = s.name;
    if (const auto first = path.find_first_of("./"); first != path.npos && path[first] == '.')
      for (char& c : path) c = c == '.' ? '/' : c == '/' ? '.' : c;
    s.file = KernelFile(host.procfs("sys/" + path), KernelFile::Read::sysctl);
    while (!keys.empty()) s.keys.emplace_back(take_until(keys, ','));
    const auto family = "node_sysctl_" + metric_name(s.name);
    const auto help = "sysctl " + s.name;
    // One family may be asked for twice, with and without an index: same name, two sets of labels.
    s.single = &singles_->get(family, untyped, help);
    s.indexed = &pool_->get(family, untyped, help, "index");
    for (std::size_t i = 0; i < s.keys.size(); ++i)
      s.keyed.push_back(
          &pool_->get(family + "_" + metric_name(s.keys[i]), untyped, fmt::format("{}, field {}", help, i)));
    sysctls_.push_back(std::move(s));
  }

  Result<> collect(Sysctl& s, BatchWriter& out) {
    const auto text = s.file.read();
    if (!text) return fail(text.error());
    std::size_t count = 0;
    for (std::string_view rest = *text; !take_word(rest).empty();) ++count;
    if (count == 0) return malformed(s.file.path(), "", "a value");
    if (!s.keys.empty() && (count != s.keys.size() || !s.numeric))
      return malformed(s.file.path(), trim(*text),
                       s.numeric ? fmt::format("as many values as keys ({})", s.keys.size()) : "numbers for keys");
    std::string_view rest = *text;
    for (std::size_t i = 0; i < count; ++i) {
      const auto word = take_word(rest);
      if (!s.numeric) {
        out.set(kInfo, 1, s.name, word, Decimal(i));
        continue;
      }
      const auto n = number(word);
      if (!n) return malformed(s.file.path(), trim(*text), "numbers");
      if (!s.keys.empty()) out.set(*s.keyed[i], *n);
      else if (count > 1) out.set(*s.indexed, *n, Decimal(i));
      else out.set(*s.single, *n);
    }
    return {};
  }

  std::vector<Sysctl> sysctls_;
  DescPoolPtr pool_ = std::make_shared<DescPool>(), singles_ = std::make_shared<DescPool>();
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  return std::make_unique<SysctlCollector>(host, options);
}

}  // namespace

extern const CollectorInfo collector_sysctl;
const CollectorInfo collector_sysctl{kMetrics, kFlags, make};

}  // namespace vitald
