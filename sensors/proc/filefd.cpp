// SPDX-License-Identifier: Apache-2.0
// How many files the kernel has open, from /proc/sys/fs/file-nr.
#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_filefd_allocated", gauge, "File descriptor statistics: allocated.", "", "", "/proc/sys/fs/file-nr"},
    {"node_filefd_maximum", gauge, "File descriptor statistics: maximum.", "", "", "/proc/sys/fs/file-nr"},
};
constexpr const MetricDesc& kAllocated = row(kMetrics, "node_filefd_allocated");
constexpr const MetricDesc& kMaximum = row(kMetrics, "node_filefd_maximum");

class Filefd final : public Collector {
 public:
  explicit Filefd(const Host& host) : file_(host.procfs("sys/fs/file-nr"), KernelFile::Read::sysctl) {}

  // "2112	0	1449064": allocated, 0 since 2.6, maximum (fs/file_table.c)
  Result<> collect(BatchWriter& out) override {
    const auto text = file_.read();
    if (!text) return fail(text.error());
    std::string_view rest = *text;
    const auto allocated = parse_double(take_word(rest));
    take_word(rest);
    const auto maximum = parse_double(take_word(rest));
    if (!allocated || !maximum) return malformed(file_.path(), trim(*text), "three numbers");
    out.set(kAllocated, *allocated);
    out.set(kMaximum, *maximum);
    return {};
  }

 private:
  KernelFile file_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Filefd>(host); }

}  // namespace

extern const CollectorInfo collector_filefd;
const CollectorInfo collector_filefd{kMetrics, {}, make};

}  // namespace vitald
