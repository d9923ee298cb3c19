// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Fibrechannel, Cases) {
  check_cases("fibrechannel", {
                                  {"online",
                                   {{"sys/class/fc_host/host0/speed", "16 Gbit\n"},
                                    {"sys/class/fc_host/host0/port_state", "Online\n"},
                                    {"sys/class/fc_host/host0/port_id", "0x010a00\n"},
                                    {"sys/class/fc_host/host0/port_name", "0x10\n"},
                                    {"sys/class/fc_host/host0/dev_loss_tmo", "30\n"},
                                    {"sys/class/fc_host/host0/statistics/dumped_frames", "0xffffffffffffffff\n"},
                                    {"sys/class/fc_host/host0/statistics/error_frames", "0x3\n"},
                                    {"sys/class/fc_host/host0/statistics/tx_words", "x\n"}},
                                   "node_fibrechannel_info{dev_loss_tmo=\"30\",fabric_name=\"\",fc_host=\"host0\",port_"
                                   "id=\"010a00\",port_name=\"10\",port_state=\"Online\",port_type=\"\",speed=\"16 "
                                   "Gbit\",supported_classes=\"\",supported_speeds=\"\",symbolic_name=\"\"} 1\n"
                                   "node_fibrechannel_error_frames_total{fc_host=\"host0\"} 3\n",
                                   ""},
                                  {"no link",
                                   {{"sys/class/fc_host/host0/port_state", "Unknown\n"},
                                    {"sys/class/fc_host/host0/statistics/error_frames", "0x3\n"}},
                                   "node_fibrechannel_info{dev_loss_tmo=\"\",fabric_name=\"\",fc_host=\"host0\",port_"
                                   "id=\"\",port_name=\"\",port_state=\"Unknown\",port_type=\"\",speed=\"\",supported_"
                                   "classes=\"\",supported_speeds=\"\",symbolic_name=\"\"} 1\n"
                                   "node_fibrechannel_dumped_frames_total{fc_host=\"host0\"} 0\n"
                                   "node_fibrechannel_error_frames_total{fc_host=\"host0\"} 0\n"
                                   "node_fibrechannel_invalid_crc_total{fc_host=\"host0\"} 0\n"
                                   "node_fibrechannel_rx_frames_total{fc_host=\"host0\"} 0\n"
                                   "node_fibrechannel_rx_words_total{fc_host=\"host0\"} 0\n"
                                   "node_fibrechannel_tx_frames_total{fc_host=\"host0\"} 0\n"
                                   "node_fibrechannel_tx_words_total{fc_host=\"host0\"} 0\n"
                                   "node_fibrechannel_seconds_since_last_reset_total{fc_host=\"host0\"} 0\n"
                                   "node_fibrechannel_invalid_tx_words_total{fc_host=\"host0\"} 0\n"
                                   "node_fibrechannel_link_failure_total{fc_host=\"host0\"} 0\n"
                                   "node_fibrechannel_loss_of_sync_total{fc_host=\"host0\"} 0\n"
                                   "node_fibrechannel_loss_of_signal_total{fc_host=\"host0\"} 0\n"
                                   "node_fibrechannel_nos_total{fc_host=\"host0\"} 0\n"
                                   "node_fibrechannel_fcp_packet_aborts_total{fc_host=\"host0\"} 0\n",
                                   ""},
                                  {"no HBA", {}, "", "absent: /sys/class/fc_host: No such file or directory (ENOENT)"},
                              });
}

}  // namespace vitald
