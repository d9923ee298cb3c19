// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Fibrechannel, Cases) {
  check_cases(
      "fibrechannel",
      {
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
          // It had 0 for all fourteen here: a counter that falls to 0 is a reset to
          // Prometheus, and the next number an increase that nobody saw.
          {"a state that is unknown says nothing of the counters",
           {{"sys/class/fc_host/host0/port_state", "Unknown\n"},
            {"sys/class/fc_host/host0/statistics/error_frames", "0x3\n"}},
           "node_fibrechannel_info{dev_loss_tmo=\"\",fabric_name=\"\",fc_host=\"host0\",port_"
           "id=\"\",port_name=\"\",port_state=\"Unknown\",port_type=\"\",speed=\"\",supported_"
           "classes=\"\",supported_speeds=\"\",symbolic_name=\"\"} 1\n"
           "node_fibrechannel_error_frames_total{fc_host=\"host0\"} 3\n",
           ""},
          {"a state that cannot be read neither",
           {{"sys/class/fc_host/host0/port_state/x", ""}, {"sys/class/fc_host/host0/statistics/nos_count", "0x0\n"}},
           "node_fibrechannel_info{dev_loss_tmo=\"\",fabric_name=\"\",fc_host=\"host0\",port_"
           "id=\"\",port_name=\"\",port_state=\"\",port_type=\"\",speed=\"\",supported_"
           "classes=\"\",supported_speeds=\"\",symbolic_name=\"\"} 1\n"
           "node_fibrechannel_nos_total{fc_host=\"host0\"} 0\n",
           ""},
          {"no HBA", {}, "", "absent: /sys/class/fc_host: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
