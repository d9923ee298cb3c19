// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Infiniband, Cases) {
  check_cases(
      "infiniband",
      {
          {"one port",
           {{"sys/class/infiniband/mlx4_0/fw_ver", "2.42\n"},
            {"sys/class/infiniband/mlx4_0/hca_type", "MT4103\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/state", "4: ACTIVE\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/phys_state", "5: LinkUp\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/rate", "40 Gb/sec (4X QDR)\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/counters/port_rcv_data", "100\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/counters/VL15_dropped", "N/A (no PMA)\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/counters/link_downed", "7\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/hw_counters/lifespan", "2500\n"}},
           "node_infiniband_info{board_id=\"\",device=\"mlx4_0\",firmware_version=\"2.42\",hca_type=\"MT4103\"} 1\n"
           "node_infiniband_state_id{device=\"mlx4_0\",port=\"1\"} 4\n"
           "node_infiniband_physical_state_id{device=\"mlx4_0\",port=\"1\"} 5\n"
           "node_infiniband_rate_bytes_per_second{device=\"mlx4_0\",port=\"1\"} 5000000000\n"
           "node_infiniband_lifespan_seconds{device=\"mlx4_0\",port=\"1\"} 2\n"
           "node_infiniband_link_downed_total{device=\"mlx4_0\",port=\"1\"} 7\n"
           "node_infiniband_port_data_received_bytes_total{device=\"mlx4_0\",port=\"1\"} 400\n",
           ""},
          {"excluded",
           {{"sys/class/infiniband/mlx4_0/fw_ver", "2.42\n"},
            {"sys/class/infiniband/mlx4_0/hca_type", "MT4103\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/state", "4: ACTIVE\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/phys_state", "5: LinkUp\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/rate", "40 Gb/sec (4X QDR)\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/counters/port_rcv_data", "100\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/counters/VL15_dropped", "N/A (no PMA)\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/counters/link_downed", "7\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/hw_counters/lifespan", "2500\n"}},
           "",
           "",
           {{"collector.infiniband.device-exclude", "mlx"}}},
          {"a counter that the device lacks",
           {{"sys/class/infiniband/mlx5_0/fw_ver", "2.42\n"},
            {"sys/class/infiniband/mlx5_0/hca_type", "MT4123\n"},
            {"sys/class/infiniband/mlx5_0/ports/1/state", "4: ACTIVE\n"},
            {"sys/class/infiniband/mlx5_0/ports/1/phys_state", "5: LinkUp\n"},
            {"sys/class/infiniband/mlx5_0/ports/1/rate", "40 Gb/sec (4X QDR)\n"},
            {"sys/class/infiniband/mlx5_0/ports/1/counters/VL15_dropped", "-1\n"},
            {"sys/class/infiniband/mlx5_0/ports/1/counters/link_downed", "7\n"}},
           "node_infiniband_info{board_id=\"\",device=\"mlx5_0\",firmware_version=\"2.42\",hca_type=\"MT4123\"} 1\n"
           "node_infiniband_state_id{device=\"mlx5_0\",port=\"1\"} 4\n"
           "node_infiniband_physical_state_id{device=\"mlx5_0\",port=\"1\"} 5\n"
           "node_infiniband_rate_bytes_per_second{device=\"mlx5_0\",port=\"1\"} 5000000000\n"
           "node_infiniband_link_downed_total{device=\"mlx5_0\",port=\"1\"} 7\n",
           ""},
          {"torn state",
           {{"sys/class/infiniband/mlx4_0/fw_ver", "2.42\n"},
            {"sys/class/infiniband/mlx4_0/hca_type", "MT4103\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/state", "\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/phys_state", "5: LinkUp\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/rate", "40 Gb/sec (4X QDR)\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/counters/port_rcv_data", "100\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/counters/VL15_dropped", "N/A (no PMA)\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/counters/link_downed", "7\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/hw_counters/lifespan", "2500\n"}},
           "node_infiniband_info{board_id=\"\",device=\"mlx4_0\",firmware_version=\"2.42\",hca_type=\"MT4103\"} 1\n"
           "node_infiniband_physical_state_id{device=\"mlx4_0\",port=\"1\"} 5\n"
           "node_infiniband_rate_bytes_per_second{device=\"mlx4_0\",port=\"1\"} 5000000000\n"
           "node_infiniband_lifespan_seconds{device=\"mlx4_0\",port=\"1\"} 2\n"
           "node_infiniband_link_downed_total{device=\"mlx4_0\",port=\"1\"} 7\n"
           "node_infiniband_port_data_received_bytes_total{device=\"mlx4_0\",port=\"1\"} 400\n",
           "malformed: /sys/class/infiniband/mlx4_0/ports/1/state: '': a number and a name expected"},
          {"torn rate",
           {{"sys/class/infiniband/mlx4_0/fw_ver", "2.42\n"},
            {"sys/class/infiniband/mlx4_0/hca_type", "MT4103\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/state", "4: ACTIVE\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/phys_state", "5: LinkUp\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/rate", "40"},
            {"sys/class/infiniband/mlx4_0/ports/1/counters/port_rcv_data", "100\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/counters/VL15_dropped", "N/A (no PMA)\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/counters/link_downed", "7\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/hw_counters/lifespan", "2500\n"}},
           "node_infiniband_info{board_id=\"\",device=\"mlx4_0\",firmware_version=\"2.42\",hca_type=\"MT4103\"} 1\n"
           "node_infiniband_state_id{device=\"mlx4_0\",port=\"1\"} 4\n"
           "node_infiniband_physical_state_id{device=\"mlx4_0\",port=\"1\"} 5\n"
           "node_infiniband_rate_bytes_per_second{device=\"mlx4_0\",port=\"1\"} 5000000000\n"
           "node_infiniband_lifespan_seconds{device=\"mlx4_0\",port=\"1\"} 2\n"
           "node_infiniband_link_downed_total{device=\"mlx4_0\",port=\"1\"} 7\n"
           "node_infiniband_port_data_received_bytes_total{device=\"mlx4_0\",port=\"1\"} 400\n",
           ""},
          {"no rate",
           {{"sys/class/infiniband/mlx4_0/fw_ver", "2.42\n"},
            {"sys/class/infiniband/mlx4_0/hca_type", "MT4103\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/state", "4: ACTIVE\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/phys_state", "5: LinkUp\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/rate", ""},
            {"sys/class/infiniband/mlx4_0/ports/1/counters/port_rcv_data", "100\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/counters/VL15_dropped", "N/A (no PMA)\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/counters/link_downed", "7\n"},
            {"sys/class/infiniband/mlx4_0/ports/1/hw_counters/lifespan", "2500\n"}},
           "node_infiniband_info{board_id=\"\",device=\"mlx4_0\",firmware_version=\"2.42\",hca_type=\"MT4103\"} 1\n"
           "node_infiniband_state_id{device=\"mlx4_0\",port=\"1\"} 4\n"
           "node_infiniband_physical_state_id{device=\"mlx4_0\",port=\"1\"} 5\n"
           "node_infiniband_lifespan_seconds{device=\"mlx4_0\",port=\"1\"} 2\n"
           "node_infiniband_link_downed_total{device=\"mlx4_0\",port=\"1\"} 7\n"
           "node_infiniband_port_data_received_bytes_total{device=\"mlx4_0\",port=\"1\"} 400\n",
           "malformed: /sys/class/infiniband/mlx4_0/ports/1/rate: '': a rate in Gb/sec expected"},
          {"no adapter", {}, "", "absent: /sys/class/infiniband: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
