// SPDX-License-Identifier: Apache-2.0
// Sockets in use by protocol, from /proc/net/sockstat and sockstat6.
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/text/names.h"
#include "core/text/scan.h"
#include "sensors/read/cleaned_last.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"
#include "sensors/read/shared_file.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_sockstat_sockets_used", gauge, "Number of IPv4 sockets in use.", "", "", "/proc/net/sockstat"},
    {"node_sockstat_*", gauge, "*", "", "", "/proc/net/sockstat, sockstat6"},
};
constexpr const MetricDesc& kUsed = row(kMetrics, "node_sockstat_sockets_used");
constexpr std::string_view kStates[] = {"inuse", "orphan", "tw", "alloc", "mem", "memory", "mem_bytes"};
constexpr std::size_t kMem = 4, kMemBytes = 6;

class Sockstat final : public Collector {
 public:
  explicit Sockstat(const Host& host)
      : page_bytes_(host.page_size_bytes()),
        v4_(host, host.procfs("net/sockstat")),
        v6_(host, host.procfs("net/sockstat6")) {}

  Result<> collect(BatchWriter& out) override {
    out.use(pool_);
    LeftOut left_out;
    left_out.add(collect(v4_, out));
    left_out.add(collect(v6_, out));
    return left_out.outcome();
  }

 private:
  struct Protocol {
    std::string name;
    bool cleaned = false;
    std::array<const MetricDesc*, std::size(kStates)> families{};
  };

  const MetricDesc& family(Protocol& protocol, std::size_t state) {
    if (!protocol.families[state]) {
      const std::string s(kStates[state]);
      protocol.families[state] = &pool_->get("node_sockstat_" + metric_name(protocol.name) + "_" + s, gauge,
                                             "Number of " + protocol.name + " sockets in state " + s + ".");
    }
    return *protocol.families[state];
  }
  Protocol& protocol(std::string_view name) {
    for (auto& p : protocols_)
      if (p.name == name) return p;
    return protocols_.emplace_back(Protocol{std::string(name), metric_name(name) != name, {}});
  }

  // "TCP: inuse 6 orphan 0 tw 3 alloc 19 mem 2"; a protocol family that is off has no file
  Result<> collect(SharedFile& file, BatchWriter& out) {
    const auto text = file.read();
    if (!text) return text.error().kind == Errc::gone ? Result<>{} : fail(text.error());
    if (is_blank(*text)) return malformed(file.path(), "", "lines of sockets");
    LeftOut left_out;
    std::string_view rest = *text;
    while (!rest.empty()) {
      const auto line = take_line(rest);
      std::string_view words = line;
      const auto name = take_until(words, ':');
      bool told = false;
      for (auto key = take_word(words); !key.empty(); key = take_word(words)) {
        const auto n = parse_i64(take_word(words));
        if (!n) {
          if (!std::exchange(told, true)) left_out.add(malformed(file.path(), line, "a number after each name"));
          continue;
        }
        const auto v = static_cast<double>(*n);
        if (name == "sockets") {
          if (key == "used") out.set(kUsed, v);
          continue;
        }
        for (std::size_t i = 0; i < kMemBytes; ++i) {
          if (key != kStates[i]) continue;
          auto& p = protocol(name);
          late_.set(out, family(p, i), v, p.cleaned);
          if (i == kMem) late_.set(out, family(p, kMemBytes), v * static_cast<double>(page_bytes_), p.cleaned);
        }
      }
    }
    late_.finish(out);
    return left_out.outcome();
  }

  long page_bytes_;
  SharedFile v4_, v6_;  // udp_queues reads them too
  std::vector<Protocol> protocols_;
  CleanedLast late_;
  DescPoolPtr pool_ = std::make_shared<DescPool>();
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Sockstat>(host); }

}  // namespace

extern const CollectorInfo collector_sockstat;
const CollectorInfo collector_sockstat{kMetrics, {}, make};

}  // namespace vitald
