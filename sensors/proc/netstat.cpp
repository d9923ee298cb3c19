// SPDX-License-Identifier: Apache-2.0
// Protocol counters of IP, TCP and UDP, from /proc/net/netstat, snmp and snmp6.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/names.h"
#include "core/text/scan.h"
#include "sensors/read/cleaned_last.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"
#include "sensors/read/name_filter.h"
#include "sensors/read/shared_file.h"

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
    LeftOut left_out;
    for (auto& table : tables_) left_out.add(collect_table(table, out));
    left_out.add(collect_snmp6(out));
    late_.finish(out);
    return left_out.outcome();
  }

 private:
  // What a header line meant the last time: it never changes while the kernel runs.
  struct Family {
    const MetricDesc* desc = nullptr;  // null: not asked for
    bool cleaned = false;
  };
  struct Column {
    std::size_t skip;  // how many before it are not asked for
    Family family;
  };
  struct Header {
    std::string line;
    std::vector<Column> columns;  // those asked for
  };
  struct Table {
    SharedFile file;  // net/netstat: `self` reads it as well
    std::vector<Header> headers;
  };
  struct Row {
    std::string key;  // name and blanks
    Family family;
    [[nodiscard]] bool matches(std::string_view text) const {
      return !key.empty() && is_blank(key.back()) && text.starts_with(key);
    }
  };

  Family family(std::string_view protocol, std::string_view field) {
    const std::string key = std::string(protocol) + "_" + std::string(field);
    if (fields_.ignored(key)) return {};
    const auto name = metric_name(key);
    return {&pool_->get("node_netstat_" + name, MetricType::untyped,
                        "Statistic " + std::string(protocol) + std::string(field) + "."),
            name != key};
  }

  // "Udp: InDatagrams NoPorts InErrors"
  // "Udp: 10466 133 0"
  Result<> collect_table(Table& table, BatchWriter& out) {
    const auto text = table.file.read();
    if (!text) return fail(text.error());
    if (vitald::is_blank(*text)) return malformed(table.file.path(), "", "lines of names and numbers");
    std::string_view rest = *text;
    LeftOut left_out;
    for (std::size_t row = 0; !rest.empty(); ++row) {
      const auto names = take_line(rest);
      const auto below = rest;
      auto values = take_line(rest);
      // Both lines begin with the protocol: where they do not, one of the two is missing and the next is no header.
      if (names.substr(0, names.find(':')) != values.substr(0, values.find(':'))) {
        left_out.add(malformed(table.file.path(), names, "a line of numbers of the same name below it"));
        rest = below;
        continue;
      }
      if (row == table.headers.size()) table.headers.emplace_back();
      Header& header = table.headers[row];
      if (header.line != names) read_header(header, names);
      skip_words(values, 1);
      bool told = false;
      for (const auto& column : header.columns) {
        skip_words(values, column.skip);
        const auto v = number(values);
        if (!v) {
          if (!std::exchange(told, true))
            left_out.add(malformed(table.file.path(), names, "as many numbers below as names"));
          continue;
        }
        late_.set(out, *column.family.desc, *v, column.family.cleaned);
      }
    }
    return left_out.outcome();
  }

  void read_header(Header& header, std::string_view line) {
    header.line = line;
    header.columns.clear();
    std::string_view rest = line;
    const auto protocol = take_until(rest, ':');
    std::size_t skip = 0;
    for (auto name = take_word(rest); !name.empty(); name = take_word(rest)) {
      const auto of = family(protocol, name);
      if (of.desc) header.columns.push_back({std::exchange(skip, 0), of});
      else ++skip;
    }
  }

  // "Ip6InReceives                   	7"; not there when IPv6 is off
  Result<> collect_snmp6(BatchWriter& out) {
    const auto text = snmp6_.read();
    if (!text) return text.error().kind == Errc::gone ? Result<>{} : fail(text.error());
    std::string_view rest = *text;
    LeftOut left_out;
    for (std::size_t row = 0; !rest.empty(); ++row) {
      auto line = take_line(rest);
      if (row == snmp6_rows_.size()) snmp6_rows_.push_back(read_row(line));
      Row& known = snmp6_rows_[row];
      if (!known.matches(line)) known = read_row(line);
      if (!known.family.desc) continue;
      line.remove_prefix(known.key.size());
      const auto v = number(line);
      if (v) late_.set(out, *known.family.desc, *v, known.family.cleaned);
      else left_out.add(malformed(snmp6_.path(), trim(known.key), "a number after the name"));
    }
    return left_out.outcome();
  }

  Row read_row(std::string_view line) {
    std::string_view rest = line;
    const auto name = take_word(rest);
    while (!rest.empty() && is_blank(rest.front())) rest.remove_prefix(1);
    const auto six = name.find('6');
    return {std::string(line.substr(0, line.size() - rest.size())),
            six == name.npos ? Family{} : family(name.substr(0, six + 1), name.substr(six + 1))};
  }

  // Nearly all are whole; Tcp's MaxConn is -1.
  static std::optional<double> number(std::string_view& rest) {
    auto digits = rest;
    if (const auto n = take_u64(digits); n && (digits.empty() || is_blank(digits.front()))) {
      rest = digits;
      return static_cast<double>(*n);
    }
    return parse_double(take_word(rest));
  }

  NameFilter fields_;
  Table tables_[2];
  KernelFile snmp6_;
  std::vector<Row> snmp6_rows_;
  CleanedLast late_;
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
