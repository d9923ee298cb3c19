// SPDX-License-Identifier: Apache-2.0
// How full the connection tracking table is and what it counts, from /proc.
#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_nf_conntrack_entries", gauge, "Number of currently allocated flow entries for connection tracking.", "", "",
     "/proc/sys/net/netfilter"},
    {"node_nf_conntrack_entries_limit", gauge, "Maximum size of connection tracking table.", "", "",
     "/proc/sys/net/netfilter"},
    {"node_nf_conntrack_stat_drop", gauge, "Number of packets dropped due to conntrack failure.", "", "",
     "/proc/net/stat/nf_conntrack"},
    {"node_nf_conntrack_stat_early_drop", gauge,
     "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.", "", "",
     "/proc/net/stat/nf_conntrack"},
    {"node_nf_conntrack_stat_found", gauge, "Number of searched entries which were successful.", "", "",
     "/proc/net/stat/nf_conntrack"},
    {"node_nf_conntrack_stat_ignore", gauge, "Number of packets seen which are already connected to a conntrack entry.",
     "", "", "/proc/net/stat/nf_conntrack"},
    {"node_nf_conntrack_stat_insert", gauge, "Number of entries inserted into the list.", "", "",
     "/proc/net/stat/nf_conntrack"},
    {"node_nf_conntrack_stat_insert_failed", gauge,
     "Number of entries for which list insertion was attempted but failed.", "", "", "/proc/net/stat/nf_conntrack"},
    {"node_nf_conntrack_stat_invalid", gauge, "Number of packets seen which can not be tracked.", "", "",
     "/proc/net/stat/nf_conntrack"},
    {"node_nf_conntrack_stat_search_restart", gauge,
     "Number of conntrack table lookups which had to be restarted due to hashtable resizes.", "", "",
     "/proc/net/stat/nf_conntrack"},
};
// Column of net/stat/nf_conntrack for each family from the third on (ct_cpu_seq_show,
// net/netfilter/nf_conntrack_standalone.c).
constexpr std::size_t kLimit = 1, kFirstStat = 2;
constexpr std::size_t kColumn[] = {10, 11, 2, 5, 8, 9, 4, 16};
static_assert(std::size(kColumn) + kFirstStat == std::size(kMetrics));
constexpr std::size_t kColumnsAtLeast = 16, kColumnsMost = 17;  // search_restart is new in 2.6.35

class Conntrack final : public Collector {
 public:
  explicit Conntrack(const Host& host)
      : other_network_(host.other_network()),
        sysctls_{KernelFile(host.procfs("sys/net/netfilter/nf_conntrack_count"), KernelFile::Read::sysctl),
                 KernelFile(host.procfs("sys/net/netfilter/nf_conntrack_max"), KernelFile::Read::sysctl)},
        stats_(host.procfs("net/stat/nf_conntrack"), KernelFile::Read::short_records) {}

  Result<> collect(BatchWriter& out) override {
    LeftOut left_out;
    // Whoever reads /proc/sys/net reads of his own network namespace, whatever mount of proc it is.
    for (std::size_t i = 0; i < std::size(sysctls_) && !other_network_; ++i) {
      const auto text = sysctls_[i].read();
      if (i == 0 && !text && text.error().kind == Errc::gone) return absent_when_gone(text.error());
      const auto n = text ? parse_u64(trim(*text)) : std::nullopt;
      if (n == 0U && i == kLimit) continue;  // any number may be there (nf_conntrack_alloc): no limit to divide by
      if (n) out.set(kMetrics[i], static_cast<double>(*n));
      else left_out.add(text ? malformed(sysctls_[i].path(), trim(*text), "a number").value() : text.error());
    }
    // Kernels without CONFIG_NF_CONNTRACK_PROCFS (Ubuntu's, for one) have the sysctls alone.
    const auto stats = collect_stats(out);
    if (stats || stats.error().kind != Errc::gone) left_out.add(stats);
    else if (other_network_) return absent_when_gone(stats.error());
    return left_out.outcome();
  }

 private:
  // One hexadecimal row per CPU below a header:
  // "0000002d  00000000 00000000 00000000 00000003 00006b1f ..."
  Result<> collect_stats(BatchWriter& out) {
    const auto text = stats_.read();
    if (!text) return fail(text.error());
    std::uint64_t sums[kColumnsMost] = {};
    std::string_view rest = *text;
    take_line(rest);
    // A sum without one CPU's row would look as if counters had started again.
    if (is_blank(rest)) return malformed(stats_.path(), trim(*text), "a line of names and a row per CPU");
    while (!rest.empty()) {
      const auto line = take_line(rest);
      std::string_view words = line;
      std::size_t count = 0;
      for (auto word = take_word(words); !word.empty() && count < kColumnsMost; word = take_word(words)) {
        const auto n = parse_int<std::uint64_t>(word, 16);
        if (!n) return malformed(stats_.path(), line, "hexadecimal numbers");
        sums[count++] += *n;
      }
      if (count < kColumnsAtLeast) return malformed(stats_.path(), line, "at least 16 columns");
    }
    for (std::size_t i = kFirstStat; i < std::size(kMetrics); ++i)
      out.set(kMetrics[i], static_cast<double>(sums[kColumn[i - kFirstStat]]));
    return {};
  }

  bool other_network_;
  KernelFile sysctls_[2];
  KernelFile stats_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Conntrack>(host); }

}  // namespace

extern const CollectorInfo collector_conntrack;
const CollectorInfo collector_conntrack{kMetrics, {}, make};

}  // namespace vitald
