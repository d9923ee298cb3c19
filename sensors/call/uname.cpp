// SPDX-License-Identifier: Apache-2.0
// What uname(2) says of the kernel and the host's name.
#include <sys/utsname.h>

#include <cerrno>

#include "core/collector.h"
#include "core/metric_row.h"

namespace vitald {
namespace {

constexpr MetricDesc kMetrics[] = {
    {"node_uname_info", MetricType::gauge, "Labeled system information as provided by the uname system call.",
     "sysname,release,version,machine,nodename,domainname", "", "uname(2)"},
};
constexpr const MetricDesc& kInfo = row(kMetrics, "node_uname_info");

class Uname final : public Collector {
 public:
  Result<> collect(BatchWriter& out) override {
    utsname u{};
    if (uname(&u) != 0) return fail(from_errno("uname", errno));
    out.set(kInfo, 1, u.sysname, u.release, u.version, u.machine, u.nodename, u.domainname);
    return {};
  }
};

Result<std::unique_ptr<Collector>> make(const Host&, const Options&) { return std::make_unique<Uname>(); }

}  // namespace

extern const CollectorInfo collector_uname;
const CollectorInfo collector_uname{kMetrics, {}, make};

}  // namespace vitald
