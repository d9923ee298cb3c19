// SPDX-License-Identifier: Apache-2.0
#include "core/collector.h"
#include "core/kernel_file.h"
#include "core/scan.h"
#include "sensors/kernel_tree.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_udp_queues", gauge, "Number of allocated memory in the kernel for UDP datagrams in bytes.", "queue,ip", "",
     "/proc/net/udp, udp6"},
};

class UdpQueues final : public Collector {
 public:
  explicit UdpQueues(const Host& host)
      : v4_(host.procfs("net/udp"), KernelFile::Read::short_records),
        v6_(host.procfs("net/udp6"), KernelFile::Read::short_records) {}

  Result<> collect(BatchWriter& out) override {
    bool any = false;
    if (auto done = collect(v4_, "v4", out, any); !done) return done;
    if (auto done = collect(v6_, "v6", out, any); !done) return done;
    if (!any) return fail(Errc::absent, v4_.path() + ", " + v6_.path() + ": neither is there");
    return {};
  }

 private:
  // "   0: 00000000:0016 00000000:0000 0A 00000024:00000000 00:00000000 ...": tx_queue:rx_queue in the fifth
  static Result<> collect(KernelFile& file, std::string_view ip, BatchWriter& out, bool& any) {
    const auto text = file.read();
    if (!text) return text.error().kind == Errc::gone ? Result<>{} : fail(text.error());
    any = true;
    std::uint64_t tx_bytes = 0, rx_bytes = 0;
    std::string_view rest = *text;
    take_line(rest);
    while (!rest.empty()) {
      const auto line = take_line(rest);
      std::string_view words = line;
      for (int skipped = 0; skipped < 4; ++skipped) take_word(words);
      auto queues = take_word(words);
      const auto tx = parse_int<std::uint64_t>(take_until(queues, ':'), 16);
      const auto rx = parse_int<std::uint64_t>(queues, 16);
      if (!tx || !rx) return malformed(file.path(), line, "tx_queue:rx_queue in the fifth column");
      tx_bytes += *tx;
      rx_bytes += *rx;
    }
    out.set(kMetrics[0], static_cast<double>(tx_bytes), "tx", ip);
    out.set(kMetrics[0], static_cast<double>(rx_bytes), "rx", ip);
    return {};
  }

  KernelFile v4_, v6_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<UdpQueues>(host); }

}  // namespace

extern const CollectorInfo collector_udp_queues;
const CollectorInfo collector_udp_queues{kMetrics, {}, make};

}  // namespace vitald
