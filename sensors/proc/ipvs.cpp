// SPDX-License-Identifier: Apache-2.0
// The kernel's load balancer: totals and real servers, from /proc/net/ip_vs_stats and ip_vs.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_ipvs_connections_total", counter, "The total number of connections made.", "", "", "/proc/net/ip_vs_stats"},
    {"node_ipvs_incoming_packets_total", counter, "The total number of incoming packets.", "", "",
     "/proc/net/ip_vs_stats"},
    {"node_ipvs_outgoing_packets_total", counter, "The total number of outgoing packets.", "", "",
     "/proc/net/ip_vs_stats"},
    {"node_ipvs_incoming_bytes_total", counter, "The total amount of incoming data.", "", "bytes",
     "/proc/net/ip_vs_stats"},
    {"node_ipvs_outgoing_bytes_total", counter, "The total amount of outgoing data.", "", "bytes",
     "/proc/net/ip_vs_stats"},
    {"node_ipvs_backend_*", gauge, "*", "", "", "/proc/net/ip_vs"},
};
constexpr std::size_t kTotals = 5;
constexpr std::array<std::string_view, 6> kLabels = {"local_address", "local_port", "remote_address",
                                                     "remote_port",   "proto",      "local_mark"};
constexpr FlagSpec kFlags[] = {
    {.name = "collector.ipvs.backend-labels",
     .type = FlagType::words,
     .fallback = "local_address,local_port,remote_address,remote_port,proto,local_mark",
     .help = "Comma separated list for IPVS backend stats labels.",
     .choices = kLabels},
};
enum Field { kLocalAddress, kLocalPort, kRemoteAddress, kRemotePort, kProto, kLocalMark };
using Fields = std::array<std::string, kLabels.size()>;

// "0A010207:1F90" or "[2001:0db8:0000:0000:0000:0000:0000:0001]:0CEA"
bool parse_endpoint(std::string_view text, std::string& address, std::string& port) {
  char buf[INET6_ADDRSTRLEN];
  if (text.size() < 6 || text[text.size() - 5] != ':') return false;
  const auto number = parse_int<std::uint16_t>(text.substr(text.size() - 4), 16);
  text.remove_suffix(5);
  if (!number) return false;
  port = std::string_view(Decimal(*number));
  if (text.front() == '[' && text.back() == ']') {
    address.assign(text.substr(1, text.size() - 2));
    in6_addr v6;
    if (::inet_pton(AF_INET6, address.c_str(), &v6) != 1) return false;
    address = ::inet_ntop(AF_INET6, &v6, buf, sizeof buf);
    return true;
  }
  const auto host_order = parse_int<std::uint32_t>(text, 16);
  if (!host_order || text.size() != 8) return false;
  const in_addr v4{htonl(*host_order)};
  address = ::inet_ntop(AF_INET, &v4, buf, sizeof buf);
  return true;
}

class Ipvs final : public Collector {
 public:
  Ipvs(const Host& host, std::vector<std::size_t> labels)
      : stats_(host.procfs("net/ip_vs_stats")),
        backends_file_(host.procfs("net/ip_vs"), KernelFile::Read::records),
        labels_(std::move(labels)) {
    std::string names;
    for (const auto i : labels_) names.append(names.empty() ? "" : ",").append(kLabels[i]);
    active_ = &pool_->get("node_ipvs_backend_connections_active", gauge,
                          "The current active connections by local and remote address.", names);
    inactive_ = &pool_->get("node_ipvs_backend_connections_inactive", gauge,
                            "The current inactive connections by local and remote address.", names);
    weight_ = &pool_->get("node_ipvs_backend_weight", gauge, "The current backend weight by local and remote address.",
                          names);
  }

  Result<> collect(BatchWriter& out) override {
    out.use(pool_);
    LeftOut left_out;
    if (auto done = collect_totals(out); !done) {
      if (done.error().kind == Errc::absent) return done;
      left_out.add(done);
    }
    left_out.add(collect_backends(out));
    return left_out.outcome();
  }

 private:
  struct Backend {
    Fields fields;  // only those that are labels
    std::uint64_t weight = 0, active = 0, inactive = 0;
  };

  // Two lines of headers, then hexadecimal
  // " 24B91E5 A1702C39        0     3C07E15A9D42                0"
  Result<> collect_totals(BatchWriter& out) {
    const auto text = stats_.read();
    if (!text) return absent_when_gone(text.error());
    std::string_view rest = *text;
    take_line(rest);
    take_line(rest);
    const auto line = take_line(rest);
    std::string_view words = line;
    LeftOut left_out;
    std::string_view numbers[kTotals];
    for (auto& number : numbers) number = take_word(words);
    // With one more or less nobody knows which is which.
    if (numbers[kTotals - 1].empty() || !trim(words).empty())
      return malformed(stats_.path(), line, "five hexadecimal numbers in the third line");
    for (std::size_t i = 0; i < kTotals; ++i) {
      if (const auto n = parse_int<std::uint64_t>(numbers[i], 16)) out.set(kMetrics[i], static_cast<double>(*n));
      else left_out.add(malformed(stats_.path(), line, "five hexadecimal numbers in the third line"));
    }
    return left_out.outcome();
  }

  // "TCP  0A010207:1F90 wlc", "FWM  10002000 wlc", and below each
  // "  -> 0A010B10:1F90      Tunnel  70     137        2"
  Result<> collect_backends(BatchWriter& out) {
    const auto text = backends_file_.read();
    if (!text) return fail(text.error());
    count_ = 0;
    if (vitald::is_blank(*text)) return malformed(backends_file_.path(), "", "lines of headings");
    Fields now;
    LeftOut left_out;
    bool inside = false;  // a service whose backends may be counted
    std::string_view rest = *text;
    while (!rest.empty()) {
      const auto line = take_line(rest);
      std::string_view words = line;
      const auto first = take_word(words), second = take_word(words);
      bool good = true;
      if (first == "TCP" || first == "UDP" || first == "SCTP") {
        now[kProto] = first;
        now[kLocalMark].clear();
        inside = good = parse_endpoint(second, now[kLocalAddress], now[kLocalPort]);
      } else if (first == "FWM") {
        now[kProto] = first;
        now[kLocalMark] = second;
        now[kLocalAddress].clear();
        now[kLocalPort] = "0";
        inside = true;
      } else if (first == "->" && second != "RemoteAddress:Port") {
        take_word(words);
        const auto weight = take_u64(words), active = take_u64(words), inactive = take_u64(words);
        good = weight && active && inactive && parse_endpoint(second, now[kRemoteAddress], now[kRemotePort]);
        if (good && inside) add(now, *weight, *active, *inactive);
      } else if (!line.empty() && !is_blank(line.front())) {
        // A service that is none of these, or one of the two lines of headings. What follows is not the one's before.
        inside = false;
        good = first == "IP" || first == "Prot";
      }
      if (!good) left_out.add(malformed(backends_file_.path(), line, "a service or a backend"));
    }
    for (std::size_t i = 0; i < count_; ++i) emit(backends_[i], out);
    return left_out.outcome();
  }

  // Backends that the chosen labels do not tell apart are one series.
  void add(const Fields& fields, std::uint64_t weight, std::uint64_t active, std::uint64_t inactive) {
    const auto same = [&](const Backend& b) {
      return std::ranges::all_of(labels_, [&](std::size_t i) { return b.fields[i] == fields[i]; });
    };
    const auto end = backends_.begin() + static_cast<std::ptrdiff_t>(count_);
    auto at = std::find_if(backends_.begin(), end, same);
    if (at == end) {
      if (count_ == backends_.size()) at = backends_.emplace(end);
      ++count_;
      at->fields = fields;
      at->weight = at->active = at->inactive = 0;
    }
    at->weight += weight;
    at->active += active;
    at->inactive += inactive;
  }

  void emit(const Backend& backend, BatchWriter& out) const {
    std::array<std::string_view, kLabels.size()> values;
    for (std::size_t i = 0; i < labels_.size(); ++i) values[i] = backend.fields[labels_[i]];
    const auto labels = std::span(values).first(labels_.size());
    out.set_values(*active_, static_cast<double>(backend.active), labels);
    out.set_values(*inactive_, static_cast<double>(backend.inactive), labels);
    out.set_values(*weight_, static_cast<double>(backend.weight), labels);
  }

  KernelFile stats_, backends_file_;
  std::vector<std::size_t> labels_;
  std::vector<Backend> backends_;  // the first count_ are of this run; kept for their memory
  std::size_t count_ = 0;
  DescPoolPtr pool_ = std::make_shared<DescPool>();
  const MetricDesc *active_, *inactive_, *weight_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  std::array<bool, kLabels.size()> wanted{};
  for (auto rest = options.text("collector.ipvs.backend-labels"); !rest.empty();) {
    const auto at = std::ranges::find(kLabels, trim(take_until(rest, ',')));
    if (at != kLabels.end()) wanted[static_cast<std::size_t>(at - kLabels.begin())] = true;
  }
  std::vector<std::size_t> labels;
  for (std::size_t i = 0; i < wanted.size(); ++i)
    if (wanted[i]) labels.push_back(i);
  return std::make_unique<Ipvs>(host, std::move(labels));
}

}  // namespace

extern const CollectorInfo collector_ipvs;
const CollectorInfo collector_ipvs{kMetrics, kFlags, make};

}  // namespace vitald
