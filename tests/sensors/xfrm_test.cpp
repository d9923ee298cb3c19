// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Xfrm, Cases) {
  check_cases("xfrm", {
                          {"as since 6.10",
                           {{"proc/net/xfrm_stat",
                             "XfrmInError             \t1\n"
                             "XfrmNewInKernel 7\n"
                             "XfrmAcquireError        \t14009\n"}},
                           "node_xfrm_in_error_packets_total 1\n"
                           "node_xfrm_in_buffer_error_packets_total 0\n"
                           "node_xfrm_in_hdr_error_packets_total 0\n"
                           "node_xfrm_in_no_states_packets_total 0\n"
                           "node_xfrm_in_state_proto_error_packets_total 0\n"
                           "node_xfrm_in_state_mode_error_packets_total 0\n"
                           "node_xfrm_in_state_seq_error_packets_total 0\n"
                           "node_xfrm_in_state_expired_packets_total 0\n"
                           "node_xfrm_in_state_mismatch_packets_total 0\n"
                           "node_xfrm_in_state_invalid_packets_total 0\n"
                           "node_xfrm_in_tmpl_mismatch_packets_total 0\n"
                           "node_xfrm_in_no_pols_packets_total 0\n"
                           "node_xfrm_in_pol_block_packets_total 0\n"
                           "node_xfrm_in_pol_error_packets_total 0\n"
                           "node_xfrm_out_error_packets_total 0\n"
                           "node_xfrm_out_bundle_gen_error_packets_total 0\n"
                           "node_xfrm_out_bundle_check_error_packets_total 0\n"
                           "node_xfrm_out_no_states_packets_total 0\n"
                           "node_xfrm_out_state_proto_error_packets_total 0\n"
                           "node_xfrm_out_state_mode_error_packets_total 0\n"
                           "node_xfrm_out_state_seq_error_packets_total 0\n"
                           "node_xfrm_out_state_expired_packets_total 0\n"
                           "node_xfrm_out_pol_block_packets_total 0\n"
                           "node_xfrm_out_pol_dead_packets_total 0\n"
                           "node_xfrm_out_pol_error_packets_total 0\n"
                           "node_xfrm_fwd_hdr_error_packets_total 0\n"
                           "node_xfrm_out_state_invalid_packets_total 0\n"
                           "node_xfrm_acquire_error_packets_total 14009\n",
                           ""},
                          {"torn",
                           {{"proc/net/xfrm_stat", "XfrmInError"}},
                           "node_xfrm_in_buffer_error_packets_total 0\n"
                           "node_xfrm_in_hdr_error_packets_total 0\n"
                           "node_xfrm_in_no_states_packets_total 0\n"
                           "node_xfrm_in_state_proto_error_packets_total 0\n"
                           "node_xfrm_in_state_mode_error_packets_total 0\n"
                           "node_xfrm_in_state_seq_error_packets_total 0\n"
                           "node_xfrm_in_state_expired_packets_total 0\n"
                           "node_xfrm_in_state_mismatch_packets_total 0\n"
                           "node_xfrm_in_state_invalid_packets_total 0\n"
                           "node_xfrm_in_tmpl_mismatch_packets_total 0\n"
                           "node_xfrm_in_no_pols_packets_total 0\n"
                           "node_xfrm_in_pol_block_packets_total 0\n"
                           "node_xfrm_in_pol_error_packets_total 0\n"
                           "node_xfrm_out_error_packets_total 0\n"
                           "node_xfrm_out_bundle_gen_error_packets_total 0\n"
                           "node_xfrm_out_bundle_check_error_packets_total 0\n"
                           "node_xfrm_out_no_states_packets_total 0\n"
                           "node_xfrm_out_state_proto_error_packets_total 0\n"
                           "node_xfrm_out_state_mode_error_packets_total 0\n"
                           "node_xfrm_out_state_seq_error_packets_total 0\n"
                           "node_xfrm_out_state_expired_packets_total 0\n"
                           "node_xfrm_out_pol_block_packets_total 0\n"
                           "node_xfrm_out_pol_dead_packets_total 0\n"
                           "node_xfrm_out_pol_error_packets_total 0\n"
                           "node_xfrm_fwd_hdr_error_packets_total 0\n"
                           "node_xfrm_out_state_invalid_packets_total 0\n"
                           "node_xfrm_acquire_error_packets_total 0\n",
                           "malformed: /proc/net/xfrm_stat: 'XfrmInError': a name and a number expected"},
                          {"no file", {}, "", "gone: /proc/net/xfrm_stat: No such file or directory (ENOENT)"},
                      });
}

}  // namespace vitald
