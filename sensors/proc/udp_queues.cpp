// SPDX-License-Identifier: Apache-2.0
// Bytes that wait in UDP sockets, from /proc/net/udp and udp6.
#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"
#include "sensors/read/shared_file.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kQueues{
    "node_udp_queues", gauge, "Number of allocated memory in the kernel for UDP datagrams in bytes.",
    "queue,ip",        "",    "/proc/net/udp, udp6"};

class UdpQueues final : public Collector {
 public:
  explicit UdpQueues(const Host& host)
      : v4_{"v4", "UDP: inuse ", KernelFile(host.procfs("net/udp"), KernelFile::Read::short_records),
            SharedFile(host, host.procfs("net/sockstat"))},
        v6_{"v6", "UDP6: inuse ", KernelFile(host.procfs("net/udp6"), KernelFile::Read::short_records),
            SharedFile(host, host.procfs("net/sockstat6"))},
        of_kernel_(host.view().kernel) {}

  Result<> collect(BatchWriter& out) override {
    bool any = false;
    LeftOut left_out;
    left_out.add(collect(v4_, out, any));
    left_out.add(collect(v6_, out, any));
    if (auto outcome = left_out.outcome(); !outcome) return outcome;
    if (!any) return fail(Errc::absent, v4_.sockets.path() + ", " + v6_.sockets.path() + ": neither is there");
    return {};
  }

 private:
  struct Family {
    std::string_view ip, in_use;
    KernelFile sockets;
    SharedFile sockstat;
  };

  // To print the sockets the kernel walks its whole table, 10 us when it is empty. /proc/net/sockstat, which
  // another collector reads anyway, has the number of those in it (udp_lib_get_port, net/ipv4/udp.c):
  // "UDP: inuse 0 mem 0"
  static bool none_in_use(Family& family) {
    const auto text = family.sockstat.read();
    const auto at = text ? text->find(family.in_use) : std::string_view::npos;
    if (at == std::string_view::npos) return false;
    auto rest = text->substr(at + family.in_use.size());
    return take_u64(rest) == 0;
  }

  // "   0: 00000000:0016 00000000:0000 0A 00000024:00000000 00:00000000 ...": tx_queue:rx_queue in the fifth
  Result<> collect(Family& family, BatchWriter& out, bool& any) {
    auto& file = family.sockets;
    if (of_kernel_ && file.is_open() && none_in_use(family)) {
      any = true;
      out.set(kQueues, 0, "tx", family.ip);
      out.set(kQueues, 0, "rx", family.ip);
      return {};
    }
    const auto text = file.read();
    if (!text) return text.error().kind == Errc::gone ? Result<>{} : fail(text.error());
    any = true;
    if (is_blank(*text)) return malformed(file.path(), "", "a line of names");
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
    out.set(kQueues, static_cast<double>(tx_bytes), "tx", family.ip);
    out.set(kQueues, static_cast<double>(rx_bytes), "rx", family.ip);
    return {};
  }

  Family v4_, v6_;
  bool of_kernel_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<UdpQueues>(host); }

}  // namespace

extern const CollectorInfo collector_udp_queues;
const CollectorInfo collector_udp_queues{std::span(&kQueues, 1), {}, make};

}  // namespace vitald
