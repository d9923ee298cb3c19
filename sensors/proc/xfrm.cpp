// SPDX-License-Identifier: Apache-2.0
// Errors of IPsec's transformations, from /proc/net/xfrm_stat.
#include <optional>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

struct Row {
  std::string_view key;
  MetricDesc desc;
};
constexpr Row kRows[] = {
    {"XfrmInError",
     {"node_xfrm_in_error_packets_total", counter, "All errors not matched by other", "", "", "/proc/net/xfrm_stat"}},
    {"XfrmInBufferError",
     {"node_xfrm_in_buffer_error_packets_total", counter, "No buffer is left", "", "", "/proc/net/xfrm_stat"}},
    {"XfrmInHdrError",
     {"node_xfrm_in_hdr_error_packets_total", counter, "Header error", "", "", "/proc/net/xfrm_stat"}},
    {"XfrmInNoStates",
     {"node_xfrm_in_no_states_packets_total", counter,
      "No state is found i.e. Either inbound SPI, address, or IPsec protocol at SA is wrong", "", "",
      "/proc/net/xfrm_stat"}},
    {"XfrmInStateProtoError",
     {"node_xfrm_in_state_proto_error_packets_total", counter,
      "Transformation protocol specific error e.g. SA key is wrong", "", "", "/proc/net/xfrm_stat"}},
    {"XfrmInStateModeError",
     {"node_xfrm_in_state_mode_error_packets_total", counter, "Transformation mode specific error", "", "",
      "/proc/net/xfrm_stat"}},
    {"XfrmInStateSeqError",
     {"node_xfrm_in_state_seq_error_packets_total", counter, "Sequence error i.e. Sequence number is out of window", "",
      "", "/proc/net/xfrm_stat"}},
    {"XfrmInStateExpired",
     {"node_xfrm_in_state_expired_packets_total", counter, "State is expired", "", "", "/proc/net/xfrm_stat"}},
    {"XfrmInStateMismatch",
     {"node_xfrm_in_state_mismatch_packets_total", counter,
      "State has mismatch option e.g. UDP encapsulation type is mismatch", "", "", "/proc/net/xfrm_stat"}},
    {"XfrmInStateInvalid",
     {"node_xfrm_in_state_invalid_packets_total", counter, "State is invalid", "", "", "/proc/net/xfrm_stat"}},
    {"XfrmInTmplMismatch",
     {"node_xfrm_in_tmpl_mismatch_packets_total", counter,
      "No matching template for states e.g. Inbound SAs are correct but SP rule is wrong", "", "",
      "/proc/net/xfrm_stat"}},
    {"XfrmInNoPols",
     {"node_xfrm_in_no_pols_packets_total", counter,
      "No policy is found for states e.g. Inbound SAs are correct but no SP is found", "", "", "/proc/net/xfrm_stat"}},
    {"XfrmInPolBlock",
     {"node_xfrm_in_pol_block_packets_total", counter, "Policy discards", "", "", "/proc/net/xfrm_stat"}},
    {"XfrmInPolError",
     {"node_xfrm_in_pol_error_packets_total", counter, "Policy error", "", "", "/proc/net/xfrm_stat"}},
    {"XfrmOutError",
     {"node_xfrm_out_error_packets_total", counter, "All errors which is not matched others", "", "",
      "/proc/net/xfrm_stat"}},
    {"XfrmOutBundleGenError",
     {"node_xfrm_out_bundle_gen_error_packets_total", counter, "Bundle generation error", "", "",
      "/proc/net/xfrm_stat"}},
    {"XfrmOutBundleCheckError",
     {"node_xfrm_out_bundle_check_error_packets_total", counter, "Bundle check error", "", "", "/proc/net/xfrm_stat"}},
    {"XfrmOutNoStates",
     {"node_xfrm_out_no_states_packets_total", counter, "No state is found", "", "", "/proc/net/xfrm_stat"}},
    {"XfrmOutStateProtoError",
     {"node_xfrm_out_state_proto_error_packets_total", counter, "Transformation protocol specific error", "", "",
      "/proc/net/xfrm_stat"}},
    {"XfrmOutStateModeError",
     {"node_xfrm_out_state_mode_error_packets_total", counter, "Transformation mode specific error", "", "",
      "/proc/net/xfrm_stat"}},
    {"XfrmOutStateSeqError",
     {"node_xfrm_out_state_seq_error_packets_total", counter, "Sequence error i.e. Sequence number overflow", "", "",
      "/proc/net/xfrm_stat"}},
    {"XfrmOutStateExpired",
     {"node_xfrm_out_state_expired_packets_total", counter, "State is expired", "", "", "/proc/net/xfrm_stat"}},
    {"XfrmOutPolBlock",
     {"node_xfrm_out_pol_block_packets_total", counter, "Policy discards", "", "", "/proc/net/xfrm_stat"}},
    {"XfrmOutPolDead",
     {"node_xfrm_out_pol_dead_packets_total", counter, "Policy is dead", "", "", "/proc/net/xfrm_stat"}},
    {"XfrmOutPolError",
     {"node_xfrm_out_pol_error_packets_total", counter, "Policy error", "", "", "/proc/net/xfrm_stat"}},
    {"XfrmFwdHdrError",
     {"node_xfrm_fwd_hdr_error_packets_total", counter, "Forward routing of a packet is not allowed", "", "",
      "/proc/net/xfrm_stat"}},
    {"XfrmOutStateInvalid",
     {"node_xfrm_out_state_invalid_packets_total", counter, "State is invalid, perhaps expired", "", "",
      "/proc/net/xfrm_stat"}},
    {"XfrmAcquireError",
     {"node_xfrm_acquire_error_packets_total", counter, "State hasn’t been fully acquired before use", "", "",
      "/proc/net/xfrm_stat"}},
};
constexpr auto kFamilies = families_of(kRows);

class Xfrm final : public Collector {
 public:
  explicit Xfrm(const Host& host) : file_(host.procfs("net/xfrm_stat")) {}

  // "XfrmInError             	1": net/xfrm/xfrm_proc.c
  Result<> collect(BatchWriter& out) override {
    const auto text = file_.read();
    if (!text) return fail(text.error());
    if (is_blank(*text)) return malformed(file_.path(), "", "a name and a number");
    LeftOut left_out;
    std::optional<double> values[std::size(kRows)];  // older kernels lack some
    std::string_view rest = *text;
    std::size_t next = 0;  // the rows come in our order, apart from those that newer kernels added
    while (!rest.empty()) {
      const auto line = take_line(rest);
      std::string_view words = line;
      const auto key = take_word(words);
      const auto n = take_u64(words);
      if (key.empty() || !n) {
        left_out.add(malformed(file_.path(), line, "a name and a number"));
        continue;
      }
      for (std::size_t i = 0; i < std::size(kRows); ++i) {
        const auto row = (next + i) % std::size(kRows);
        if (kRows[row].key != key) continue;
        values[row] = static_cast<double>(*n);
        next = row + 1;
        break;
      }
    }
    for (std::size_t i = 0; i < std::size(kRows); ++i)
      if (values[i]) out.set(kRows[i].desc, *values[i]);
    return left_out.outcome();
  }

 private:
  KernelFile file_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Xfrm>(host); }

}  // namespace

extern const CollectorInfo collector_xfrm;
const CollectorInfo collector_xfrm{kFamilies, {}, make};

}  // namespace vitald
