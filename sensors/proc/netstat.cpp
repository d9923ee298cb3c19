// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/kernel_file.h"
#include "core/scan.h"
#include "sensors/kernel_tree.h"
#include "sensors/name_filter.h"
#include "sensors/shared_file.h"

namespace vitald {
namespace {

constexpr MetricDesc kMetrics[] = {
    {"node_netstat_*", MetricType::untyped, "*", "", "", "/proc/net/netstat, snmp, snmp6"},
};
constexpr FlagSpec kFlags[] = {
    {"collector.netstat.fields", FlagType::pattern,
     "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)|TcpExt_(Listen.*|"
     "Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|"
     "PassiveOpens|RetransSegs|CurrEstab)|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$",
     "Regexp of fields to return for netstat collector."},
};

class Netstat final : public Collector {
 public:
  Netstat(const Host& host, NameFilter fields)
      : fields_(std::move(fields)),
        tables_{Table{SharedFile(host, host.procfs("net/netstat")), {}},
                Table{SharedFile(host, host.procfs("net/snmp")), {}}},
        snmp6_(host.procfs("net/snmp6")) {}

  Result<> collect(BatchWriter& out) override {
    out.use(pool_);
    for (auto& table : tables_)
      if (auto done = collect_table(table, out); !done) return done;
    return collect_snmp6(out);
  }

 private:
  // What a header line meant the last time: it never changes while the kernel runs.
  struct Header {
    std::string line;
    std::vector<const MetricDesc*> columns;  // null: not asked for
  };
  struct Table {
    SharedFile file;  // net/netstat: `self` reads it as well
    std::vector<Header> headers;
  };

  const MetricDesc* family(std::string_view protocol, std::string_view field) {
    const std::string key = std::string(protocol) + "_" + std::string(field);
    if (fields_.ignored(key)) return nullptr;
    return &pool_->get("node_netstat_" + key, MetricType::untyped,
                       "Statistic " + std::string(protocol) + std::string(field) + ".");
  }

  // "Udp: InDatagrams NoPorts InErrors"
  // "Udp: 10466 133 0"
  Result<> collect_table(Table& table, BatchWriter& out) {
    const auto text = table.file.read();
    if (!text) return fail(text.error());
    std::string_view rest = *text;
    for (std::size_t row = 0; !rest.empty(); ++row) {
      const auto names = take_line(rest);
      auto values = take_line(rest);
      if (row == table.headers.size()) table.headers.emplace_back();
      Header& header = table.headers[row];
      if (header.line != names) read_header(header, names);
      take_word(values);
      for (const auto* desc : header.columns) {
        const auto word = take_word(values);
        if (!desc && !word.empty()) continue;
        const auto v = parse_double(word);
        if (!v) return malformed(table.file.path(), names, "as many numbers below as names");
        out.set(*desc, *v);
      }
    }
    return {};
  }

  void read_header(Header& header, std::string_view line) {
    header.line = line;
    header.columns.clear();
    std::string_view rest = line;
    const auto protocol = take_until(rest, ':');
    for (auto name = take_word(rest); !name.empty(); name = take_word(rest))
      header.columns.push_back(family(protocol, name));
  }

  // "Ip6InReceives                   	7"; not there when IPv6 is off
  Result<> collect_snmp6(BatchWriter& out) {
    const auto text = snmp6_.read();
    if (!text) return text.error().kind == Errc::gone ? Result<>{} : fail(text.error());
    std::string_view rest = *text;
    for (std::size_t row = 0; !rest.empty();) {
      auto line = take_line(rest);
      const auto name = take_word(line);
      const auto six = name.find('6');
      if (six == name.npos) continue;
      if (row == snmp6_rows_.size()) snmp6_rows_.emplace_back();
      Header& known = snmp6_rows_[row++];
      if (known.line != name) {
        known.line = name;
        known.columns.assign(1, family(name.substr(0, six + 1), name.substr(six + 1)));
      }
      if (!known.columns[0]) continue;
      const auto v = parse_double(take_word(line));
      if (!v) return malformed(snmp6_.path(), name, "a number after the name");
      out.set(*known.columns[0], *v);
    }
    return {};
  }

  NameFilter fields_;
  Table tables_[2];
  KernelFile snmp6_;
  std::vector<Header> snmp6_rows_;
  DescPoolPtr pool_ = std::make_shared<DescPool>();
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto fields = NameFilter::make("", options.text("collector.netstat.fields"));
  if (!fields) return fail(fields.error());
  return std::make_unique<Netstat>(host, std::move(*fields));
}

}  // namespace

extern const CollectorInfo collector_netstat;
const CollectorInfo collector_netstat{kMetrics, kFlags, make};

}  // namespace vitald
