// SPDX-License-Identifier: Apache-2.0
// Memory errors that were corrected and not, by row or module, from /sys/devices/system/edac.
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_edac_channel_correctable_errors_total", counter, "Total correctable memory errors for this channel.",
     "controller,csrow,channel,dimm_label", "", "/sys/devices/system/edac/mc"},
    {"node_edac_channel_uncorrectable_errors_total", counter, "Total uncorrectable memory errors for this channel.",
     "controller,csrow,channel,dimm_label", "", "/sys/devices/system/edac/mc"},
    {"node_edac_correctable_errors_total", counter, "Total correctable memory errors.", "controller", "",
     "/sys/devices/system/edac/mc"},
    {"node_edac_csrow_correctable_errors_total", counter, "Total correctable memory errors for this csrow.",
     "controller,csrow", "", "/sys/devices/system/edac/mc"},
    {"node_edac_csrow_uncorrectable_errors_total", counter, "Total uncorrectable memory errors for this csrow.",
     "controller,csrow", "", "/sys/devices/system/edac/mc"},
    {"node_edac_uncorrectable_errors_total", counter, "Total uncorrectable memory errors.", "controller", "",
     "/sys/devices/system/edac/mc"},
    {"node_edac_dimm_correctable_errors_total", counter, "Total correctable memory errors for this DIMM.",
     "controller,dimm,dimm_label", "", "/sys/devices/system/edac/mc/mc*/{dimm,rank}*"},
    {"node_edac_dimm_uncorrectable_errors_total", counter, "Total uncorrectable memory errors for this DIMM.",
     "controller,dimm,dimm_label", "", "/sys/devices/system/edac/mc/mc*/{dimm,rank}*"},
};
enum Family { kChannelCe, kChannelUe, kCe, kCsrowCe, kCsrowUe, kUe, kDimmCe, kDimmUe };

struct Channel {
  std::string number;
  Attribute dimm;  // set while the system runs: ras-mc-ctl --register-labels
  Attribute ce, ue;
};
// A csrow, or since Linux 3.6 a DIMM or rank, which newer drivers (skx, i10nm, ghes) have instead.
struct Csrow {
  explicit Csrow(const std::string& path)
      : ce(path + "/ce_count"),
        ue(path + "/ue_count"),
        dimm_ce(path + "/dimm_ce_count"),
        dimm_ue(path + "/dimm_ue_count"),
        dimm_label(path + "/dimm_label"),
        dir(path) {}
  Attribute ce, ue, dimm_ce, dimm_ue, dimm_label;
  KernelDir dir;
  std::vector<Channel> channels;
};
struct Controller {
  explicit Controller(const std::string& path)
      : ce(path + "/ce_count"),
        ce_noinfo(path + "/ce_noinfo_count"),
        ue(path + "/ue_count"),
        ue_noinfo(path + "/ue_noinfo_count"),
        csrows(path) {}
  Attribute ce, ce_noinfo, ue, ue_noinfo;
  KernelItems<Csrow> csrows;
};

// "mc0" gives "0"
std::string_view number_after(std::string_view name, std::string_view prefix) {
  return take_prefix(name, prefix) && parse_u64(name) ? name : std::string_view{};
}

// "CPU_SrcID#0_Ha#0_Chan#0_DIMM#0" -> "CPU_SrcID0_Ha0_Chan0_DIMM0"
std::string dimm_label(Attribute& file) {
  const auto text = file.text();
  if (!text) return "unknown";
  std::string label;
  for (std::string_view rest = *text; !rest.empty();) {
    for (const std::string_view word : {"csrow", "channel"})
      if (rest.starts_with(word)) label += '_';
    if (rest.front() != '#') label += rest.front();
    rest.remove_prefix(1);
  }
  return label;
}

class Edac final : public Collector {
 public:
  explicit Edac(const Host& host) : controllers_(host.sysfs("devices/system/edac/mc")) {}

  // No memory controller that counts is no error: nothing is emitted.
  Result<> collect(BatchWriter& out) override {
    if (auto listed = controllers_.refresh(); !listed && listed.error().kind != Errc::gone) return listed;
    LeftOut left_out;
    for (auto& [name, mc] : controllers_.items()) {
      const auto number = number_after(name, "mc");
      if (number.empty()) continue;
      left_out.add(emit(mc.ce, kCe, out, number));
      left_out.add(emit(mc.ce_noinfo, kCsrowCe, out, number, "unknown"));
      left_out.add(emit(mc.ue, kUe, out, number));
      left_out.add(emit(mc.ue_noinfo, kCsrowUe, out, number, "unknown"));
      if (auto listed = mc.csrows.refresh(); !listed) {
        if (listed.error().kind != Errc::gone) left_out.add(listed);
        continue;
      }
      for (auto& [row, csrow] : mc.csrows.items())
        if (const auto id = number_after(row, "csrow"); !id.empty()) collect_csrow(number, id, csrow, left_out, out);
      for (auto& [row, dimm] : mc.csrows.items())
        if (!number_after(row, "dimm").empty() || !number_after(row, "rank").empty())
          collect_dimm(number, row, dimm, left_out, out);
    }
    return left_out.outcome();
  }

 private:
  template <class... L>
  static Result<> emit(Attribute& file, Family family, BatchWriter& out, const L&... labels) {
    const auto text = file.text();
    if (!text && file.unreadable()) return fail(*file.unreadable());
    const auto n = text ? parse_u64(*text) : std::nullopt;
    if (!n) return malformed(file.path(), text.value_or("not there"), "a count");
    out.set(kMetrics[family], static_cast<double>(*n), labels...);
    return {};
  }

  // The label is the slot's name as the board's maker wrote it, and what somebody looks for on the board.
  static void collect_dimm(std::string_view mc, std::string_view name, Csrow& dimm, LeftOut& left_out,
                           BatchWriter& out) {
    const std::string label(dimm.dimm_label.text().value_or("unknown"));
    // Kernels before 4.10 have DIMMs without counts.
    for (auto [file, family] : {std::pair(&dimm.dimm_ce, kDimmCe), std::pair(&dimm.dimm_ue, kDimmUe)})
      if (file->text() || file->unreadable()) left_out.add(emit(*file, family, out, mc, name, label));
  }

  static void collect_csrow(std::string_view mc, std::string_view row, Csrow& csrow, LeftOut& left_out,
                            BatchWriter& out) {
    left_out.add(emit(csrow.ce, kCsrowCe, out, mc, row));
    left_out.add(emit(csrow.ue, kCsrowUe, out, mc, row));
    const auto changed = csrow.dir.refresh();
    if (!changed) {
      if (changed.error().kind != Errc::gone) left_out.add(changed.error());
      return;
    }
    if (*changed) find_channels(csrow);
    for (auto& c : csrow.channels) {
      const auto dimm = dimm_label(c.dimm);
      left_out.add(emit(c.ce, kChannelCe, out, mc, row, c.number, dimm));
      if (const auto n = number_of(c.ue, out)) out.set(kMetrics[kChannelUe], *n, mc, row, c.number, dimm);
    }
  }

  // The files of a channel: ch0_ce_count, ch0_ue_count (newer drivers), ch0_dimm_label.
  static void find_channels(Csrow& csrow) {
    csrow.channels.clear();
    for (const auto& file : csrow.dir.names()) {
      std::string_view rest = file;
      if (!take_prefix(rest, "ch") || !rest.ends_with("_ce_count")) continue;
      const std::string number(take_until(rest, '_'));
      if (!parse_u64(number) || rest != "ce_count") continue;
      const auto path = csrow.dir.file("ch" + number);
      csrow.channels.push_back(
          {number, Attribute(path + "_dimm_label"), Attribute(path + "_ce_count"), Attribute(path + "_ue_count")});
    }
  }

  KernelItems<Controller> controllers_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Edac>(host); }

}  // namespace

extern const CollectorInfo collector_edac;
const CollectorInfo collector_edac{kMetrics, {}, make};

}  // namespace vitald
