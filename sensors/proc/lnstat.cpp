// SPDX-License-Identifier: Apache-2.0
// Counters of network subsystems on each CPU, from the tables in /proc/net/stat.
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/names.h"
#include "core/text/scan.h"
#include "sensors/read/cleaned_last.h"
#include "sensors/read/cpu_list.h"
#include "sensors/read/family_memo.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_lnstat_*", counter, "*", "subsystem,cpu", "", "/proc/net/stat"},
};

struct Table {
  explicit Table(const std::string& path) : file(path, KernelFile::Read::short_records) {}
  KernelFile file;
  FamilyMemo families;
};

class Lnstat final : public Collector {
 public:
  explicit Lnstat(const Host& host) : tables_(host.procfs("net/stat")), possible_(host, "possible") {}

  // "entries  allocs destroys ..." and one hexadecimal row below it for each possible CPU, whether it is online or not
  // (rt_cpu_seq_next, net/ipv4/route.c; ct_cpu_seq_next, net/netfilter/nf_conntrack_standalone.c)
  Result<> collect(BatchWriter& out) override {
    out.use(pool_);
    LeftOut left_out;
    const auto possible = possible_.cpus();
    if (auto listed = tables_.refresh(); !listed && listed.error().kind != Errc::gone) return listed;
    for (auto& [name, table] : tables_.items()) {
      const auto text = table.file.read();
      if (!text) {
        if (text.error().kind != Errc::gone) left_out.add(text.error());
        continue;
      }
      if (is_blank(*text)) {
        left_out.add(malformed(table.file.path(), "", "a line of names and a row per CPU"));
        continue;
      }
      std::string_view rest = *text;
      const auto header = take_line(rest);
      for (std::size_t row = 0; !rest.empty(); ++row) {
        const auto line = take_line(rest);
        const Decimal cpu(row < possible.size() ? possible[row] : row);
        std::string_view keys = header, words = line;
        std::size_t column = 0;
        for (auto key = take_word(keys); !key.empty(); key = take_word(keys)) {
          const auto n = parse_int<std::uint64_t>(take_word(words), 16);
          if (!n) {
            left_out.add(malformed(table.file.path(), line, "a hexadecimal number per column"));
            break;
          }
          const auto& family = table.families.at(column++, key, [&] {
            const auto word = metric_name(key);
            return FamilyMemo::Family{
                &pool_->get("node_lnstat_" + word + "_total", counter, "linux network cache stats", "subsystem,cpu"),
                word != key};
          });
          late_.set(out, *family.desc, static_cast<double>(*n), family.cleaned, name, cpu);
        }
        late_.finish(out);
      }
    }
    return left_out.outcome();
  }

 private:
  KernelItems<Table> tables_;
  CpuList possible_;
  CleanedLast late_;
  DescPoolPtr pool_ = std::make_shared<DescPool>();
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Lnstat>(host); }

}  // namespace

extern const CollectorInfo collector_lnstat;
const CollectorInfo collector_lnstat{kMetrics, {}, make};

}  // namespace vitald
