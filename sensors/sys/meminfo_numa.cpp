// SPDX-License-Identifier: Apache-2.0
// Memory of each NUMA node and where it was allocated from, from /sys/devices/system/node.
#include <fmt/format.h>
#include <string>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/names.h"
#include "core/text/scan.h"
#include "sensors/read/cleaned_last.h"
#include "sensors/read/family_memo.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"
#include "sensors/read/no_reading.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_memory_numa_*", gauge, "*", "node", "", "/sys/devices/system/node/node*/meminfo"},
    {"node_memory_numa_*_total", counter, "*", "node", "", "/sys/devices/system/node/node*/numastat"},
};

struct Node {
  explicit Node(const std::string& path) : meminfo(path + "/meminfo"), numastat(path + "/numastat") {}
  KernelFile meminfo, numastat;
  FamilyMemo meminfo_families, numastat_families;
};

class MeminfoNuma final : public Collector {
 public:
  explicit MeminfoNuma(const Host& host) : nodes_(host.sysfs("devices/system/node")) {}

  Result<> collect(BatchWriter& out) override {
    out.use(pool_);
    if (auto listed = nodes_.refresh(); !listed && listed.error().kind != Errc::gone) return listed;
    LeftOut left_out;
    for (auto& [name, node] : nodes_.items()) {
      std::string_view number = name;
      if (!take_prefix(number, "node") || !parse_u64(number)) continue;
      left_out.add(collect_meminfo(node, number, out));
      left_out.add(collect_numastat(node, number, out));
    }
    return left_out.outcome();
  }

 private:
  // "Node 0 Active(anon):     885252 kB"; without a unit it is a count. The number is padded to eight places: there may
  // be no blank before one of eight digits.
  Result<> collect_meminfo(Node& node, std::string_view number, BatchWriter& out) {
    const auto text = node.meminfo.read();
    if (!text) return fail(text.error());
    if (is_blank(*text)) return malformed(node.meminfo.path(), "", "'Node N NAME:' and a number, maybe of kB");
    LeftOut left_out;
    std::string_view rest = *text;
    for (std::size_t row = 0; !rest.empty();) {
      const auto line = take_line(rest);
      if (trim(line).empty()) continue;
      std::string_view words = line;
      const bool node_line = take_word(words) == "Node" && take_word(words) == number;
      const auto key = trim(take_until(words, ':'));
      const auto n = take_u64(words);
      const auto unit = take_word(words);
      if (!node_line || key.empty() || !n || (!unit.empty() && unit != "kB")) {
        left_out.add(malformed(node.meminfo.path(), line, "'Node N NAME:' and a number, maybe of kB"));
        continue;
      }
      if (!unit.empty() && *n >= kNoSizeKib) {
        out.problem(
            {Errc::malformed, 0, fmt::format("{}: '{}': less than 2^54 kB expected", node.meminfo.path(), key)});
        continue;
      }
      const auto& known = node.meminfo_families.at(row++, key, [&] { return family(key); });
      late_.set(out, *known.desc, static_cast<double>(*n) * (unit.empty() ? 1 : 1024), known.cleaned, number);
    }
    late_.finish(out);
    return left_out.outcome();
  }
  // "Active(anon)" becomes Active_anon
  FamilyMemo::Family family(std::string_view key) {
    std::string word(take_until(key, '('));
    if (!key.empty()) word.append("_").append(take_until(key, ')')).append(key);
    const auto name = metric_name(word);
    return {&pool_->get("node_memory_numa_" + name, gauge, "Memory information field " + name + ".", "node"),
            name != word};
  }

  // "numa_hit 111702455512"
  Result<> collect_numastat(Node& node, std::string_view number, BatchWriter& out) {
    const auto text = node.numastat.read();
    if (!text) return fail(text.error());
    if (is_blank(*text)) return malformed(node.numastat.path(), "", "a name and a number");
    LeftOut left_out;
    std::string_view rest = *text;
    for (std::size_t row = 0; !rest.empty();) {
      const auto line = take_line(rest);
      if (trim(line).empty()) continue;
      std::string_view words = line;
      const auto key = take_word(words);
      const auto n = take_u64(words);
      if (!n) {
        left_out.add(malformed(node.numastat.path(), line, "a name and a number"));
        continue;
      }
      const auto& known = node.numastat_families.at(row++, key, [&] {
        const auto word = metric_name(key), name = word + "_total";
        return FamilyMemo::Family{
            &pool_->get("node_memory_numa_" + name, counter, "Memory information field " + name + ".", "node"),
            word != key};
      });
      late_.set(out, *known.desc, static_cast<double>(*n), known.cleaned, number);
    }
    late_.finish(out);
    return left_out.outcome();
  }

  KernelItems<Node> nodes_;
  CleanedLast late_;
  DescPoolPtr pool_ = std::make_shared<DescPool>();
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  return std::make_unique<MeminfoNuma>(host);
}

}  // namespace

extern const CollectorInfo collector_meminfo_numa;
const CollectorInfo collector_meminfo_numa{kMetrics, {}, make};

}  // namespace vitald
