// SPDX-License-Identifier: Apache-2.0
// How memory is used, a family for each line of /proc/meminfo.
#include <fmt/format.h>

#include <utility>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/names.h"
#include "core/text/scan.h"
#include "sensors/read/cleaned_last.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"
#include "sensors/read/no_reading.h"
#include "sensors/read/row_memo.h"

namespace vitald {
namespace {

// One family per line of the file; kernels add and drop lines, so they are made at run time.
constexpr MetricDesc kMetrics[] = {
    {"node_memory_*", MetricType::gauge, "Memory information field *.", "", "bytes", "/proc/meminfo"},
};

struct Field {
  const MetricDesc* desc = nullptr;
  bool kib = false, cleaned = false;
  [[nodiscard]] std::string_view unit() const { return kib ? "kB" : ""; }
};

class Meminfo final : public Collector {
 public:
  explicit Meminfo(const Host& host) : file_(host.procfs("meminfo")) {}

  // "Active(anon):    4736554 kB" and "HugePages_Total:       0". The kernel writes kB and means KiB
  // (show_val_kb, fs/proc/meminfo.c).
  Result<> collect(BatchWriter& out) override {
    auto text = file_.read();
    if (!text) return fail(text.error());
    if (is_blank(*text)) return malformed("");
    out.use(pool_);
    fields_.start();
    LeftOut left_out;
    while (!text->empty()) {
      const auto line = take_line(*text);
      std::string_view rest = line;
      auto* field = fields_.match(rest, ':');
      if (!field) {
        if (trim(line).empty()) continue;
        field = fields_.insert(take_until(rest, ':'), {});
      } else {
        rest.remove_prefix(1);
      }
      const auto n = take_u64(rest);
      const auto unit = trim(rest);
      if (!field->desc || unit != field->unit()) *field = field_of(line.substr(0, line.find(':')), unit);
      if (!n || !field->desc) left_out.add(malformed(line));
      else if (field->kib && *n >= kNoSizeKib)  // without the number: it would be news with each run
        out.problem(
            {Errc::malformed, 0,
             fmt::format("{}: '{}': less than 2^54 kB expected", file_.path(), line.substr(0, line.find(':')))});
      else late_.set(out, *field->desc, static_cast<double>(field->kib ? *n * 1024 : *n), field->cleaned);
    }
    late_.finish(out);
    return left_out.outcome();
  }

 private:
  // A field without a descriptor when the name or the unit is none.
  Field field_of(std::string_view key, std::string_view unit) {
    if (key.empty() || (!unit.empty() && unit != "kB")) return {};
    std::string field;  // Active(anon) -> Active_anon_bytes
    for (const char c : key)
      if (c != ')') field += c == '(' ? '_' : c;
    const auto word = std::exchange(field, metric_name(field));
    const bool cleaned = field != word;
    const bool kib = !unit.empty();
    if (kib) field += "_bytes";
    const auto type = field.ends_with("_total") ? MetricType::counter : MetricType::gauge;
    return {&pool_->get("node_memory_" + field, type, fmt::format("Memory information field {}.", field), "",
                        kib ? "bytes" : "", "/proc/meminfo"),
            kib, cleaned};
  }
  [[nodiscard]] tl::unexpected<Error> malformed(std::string_view line) const {
    return fail(Errc::malformed,
                fmt::format("{}: '{}': 'Name: number' or 'Name: number kB' expected", file_.path(), line));
  }

  KernelFile file_;
  DescPoolPtr pool_ = std::make_shared<DescPool>();
  RowMemo<Field> fields_;
  CleanedLast late_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Meminfo>(host); }

}  // namespace

extern const CollectorInfo collector_meminfo;
const CollectorInfo collector_meminfo{kMetrics, {}, make};

}  // namespace vitald
