// SPDX-License-Identifier: Apache-2.0
// The kernel's pool of random bits, from /proc/sys/kernel/random.
#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_entropy_available_bits", gauge, "Bits of available entropy.", "", "",
     "/proc/sys/kernel/random/entropy_avail"},
    {"node_entropy_pool_size_bits", gauge, "Bits of entropy pool.", "", "", "/proc/sys/kernel/random/poolsize"},
};

class Entropy final : public Collector {
 public:
  explicit Entropy(const Host& host)
      : files_{KernelFile(host.procfs("sys/kernel/random/entropy_avail"), KernelFile::Read::sysctl),
               KernelFile(host.procfs("sys/kernel/random/poolsize"), KernelFile::Read::sysctl)} {}

  // "256"
  Result<> collect(BatchWriter& out) override {
    LeftOut left_out;
    for (std::size_t i = 0; i < std::size(files_); ++i) {
      const auto text = files_[i].read();
      const auto bits = text ? parse_u64(trim(*text)) : std::nullopt;
      if (bits) out.set(kMetrics[i], static_cast<double>(*bits));
      else left_out.add(text ? malformed(files_[i].path(), trim(*text), "a number").value() : text.error());
    }
    return left_out.outcome();
  }

 private:
  KernelFile files_[2];
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Entropy>(host); }

}  // namespace

extern const CollectorInfo collector_entropy;
const CollectorInfo collector_entropy{kMetrics, {}, make};

}  // namespace vitald
