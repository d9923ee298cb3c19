// SPDX-License-Identifier: Apache-2.0
// Chosen lines of /proc/vmstat, a family each.
#include <fmt/format.h>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/names.h"
#include "core/text/scan.h"
#include "sensors/read/cleaned_last.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"
#include "sensors/read/name_filter.h"
#include "sensors/read/row_memo.h"

namespace vitald {
namespace {

// One family per chosen line of the file, made at run time.
constexpr MetricDesc kMetrics[] = {
    {"node_vmstat_*", MetricType::untyped, "/proc/vmstat information field *.", "", "", "/proc/vmstat"},
};
constexpr std::string_view kFieldsFlag = "collector.vmstat.fields";
constexpr FlagSpec kFlags[] = {
    {kFieldsFlag, FlagType::pattern, "^(oom_kill|pgpg|pswp|pg.*fault).*",
     "Regexp of fields to return for vmstat collector."},
};

class Vmstat final : public Collector {
 public:
  Vmstat(const Host& host, NameFilter fields)
      : file_(host.procfs("vmstat"), KernelFile::Read::short_records), wanted_(std::move(fields)) {}

  // "pgpgin 7114375"
  Result<> collect(BatchWriter& out) override {
    auto text = file_.read();
    if (!text) return fail(text.error());
    if (is_blank(*text)) return malformed(file_.path(), "", "lines 'name number'");
    out.use(pool_);
    rows_.start();
    LeftOut left_out;
    while (!text->empty()) {
      const auto line = take_line(*text);
      std::string_view rest = line;
      auto* field = rows_.match(rest, ' ');
      if (!field) {
        const auto key = take_word(rest);
        if (key.empty()) continue;
        field = rows_.insert(key, field_of(key));
      }
      if (!field->desc) continue;
      const auto value = take_u64(rest);
      if (value && trim(rest).empty()) late_.set(out, *field->desc, static_cast<double>(*value), field->cleaned);
      else left_out.add(Error{Errc::malformed, 0, fmt::format("{}: '{}': 'name number' expected", file_.path(), line)});
    }
    late_.finish(out);
    return left_out.outcome();
  }

 private:
  struct Field {
    const MetricDesc* desc = nullptr;  // nullptr: not asked for
    bool cleaned = false;
  };
  Field field_of(std::string_view key) {
    if (wanted_.ignored(key)) return {};
    const auto name = metric_name(key);
    return {&pool_->get(fmt::format("node_vmstat_{}", name), MetricType::untyped,
                        fmt::format("/proc/vmstat information field {}.", key), "", "", "/proc/vmstat"),
            name != key};
  }

  KernelFile file_;
  NameFilter wanted_;
  DescPoolPtr pool_ = std::make_shared<DescPool>();
  RowMemo<Field> rows_;
  CleanedLast late_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto fields = NameFilter::make("", options.text(kFieldsFlag));
  if (!fields) return fail(fields.error());
  return std::make_unique<Vmstat>(host, std::move(*fields));
}

}  // namespace

extern const CollectorInfo collector_vmstat;
const CollectorInfo collector_vmstat{kMetrics, kFlags, make};

}  // namespace vitald
