// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Nvme, Cases) {
  check_cases(
      "nvme",
      {
          {"one namespace",
           {{"sys/class/nvme/nvme0/model", "Samsung SSD\n"},
            {"sys/class/nvme/nvme0/firmware_rev", "3A0\n"},
            {"sys/class/nvme/nvme0/serial", "X17B\n"},
            {"sys/class/nvme/nvme0/state", "live\n"},
            {"sys/class/nvme/nvme0/cntlid", "1096\n"},
            {"sys/class/nvme/nvme0/nvme0c0n1/size", "10\n"},
            {"sys/class/nvme/nvme0/nvme0c0n1/nuse", "4\n"},
            {"sys/class/nvme/nvme0/nvme0c0n1/queue/logical_block_size", "4096\n"},
            {"sys/class/nvme/nvme0/nvme0c0n1/ana_state", "optimized\n"},
            {"sys/class/nvme/nvme0/hwmon1/name", "nvme\n"}},
           "node_nvme_info{cntlid=\"1096\",device=\"nvme0\",firmware_revision=\"3A0\",model=\"Samsung "
           "SSD\",serial=\"X17B\",state=\"live\"} 1\n"
           "node_nvme_namespace_info{ana_state=\"optimized\",device=\"nvme0\",nsid=\"1\"} 1\n"
           "vitald_nvme_namespace_capacity_bytes{device=\"nvme0\",nsid=\"1\"} 5120\n"
           "node_nvme_namespace_capacity_bytes{device=\"nvme0\",nsid=\"1\"} 40960\n"
           "node_nvme_namespace_size_bytes{device=\"nvme0\",nsid=\"1\"} 40960\n"
           "node_nvme_namespace_used_bytes{device=\"nvme0\",nsid=\"1\"} 16384\n"
           "node_nvme_namespace_logical_block_size_bytes{device=\"nvme0\",nsid=\"1\"} 4096\n",
           ""},
          {"the controller's number of a namespace is not the kernel's",
           {{"sys/class/nvme/nvme0/nvme0n1/nsid", "11\n"}, {"sys/class/nvme/nvme0/nvme0c0n2/nsid", "\n"}},
           "node_nvme_info{cntlid=\"\",device=\"nvme0\",firmware_revision=\"\",model=\"\",serial=\"\",state=\"\"} 1\n"
           "node_nvme_namespace_info{ana_state=\"unknown\",device=\"nvme0\",nsid=\"2\"} 1\n"
           "node_nvme_namespace_info{ana_state=\"unknown\",device=\"nvme0\",nsid=\"11\"} 1\n",
           ""},
          {"without details",
           {{"sys/class/nvme/nvme0/nvme0n2/x", ""}},
           "node_nvme_info{cntlid=\"\",device=\"nvme0\",firmware_revision=\"\",model=\"\",serial=\"\",state=\"\"} 1\n"
           "node_nvme_namespace_info{ana_state=\"unknown\",device=\"nvme0\",nsid=\"2\"} 1\n",
           ""},
          {"before 6.8 nothing says what is used",
           {{"sys/class/nvme/nvme1/nvme1n1/size", "8\n"},
            {"sys/class/nvme/nvme1/nvme1n1/queue/logical_block_size", "512\n"}},
           "node_nvme_info{cntlid=\"\",device=\"nvme1\",firmware_revision=\"\",model=\"\",serial=\"\",state=\"\"} 1\n"
           "node_nvme_namespace_info{ana_state=\"unknown\",device=\"nvme1\",nsid=\"1\"} 1\n"
           "vitald_nvme_namespace_capacity_bytes{device=\"nvme1\",nsid=\"1\"} 4096\n"
           "node_nvme_namespace_capacity_bytes{device=\"nvme1\",nsid=\"1\"} 4096\n"
           "node_nvme_namespace_size_bytes{device=\"nvme1\",nsid=\"1\"} 4096\n"
           "node_nvme_namespace_logical_block_size_bytes{device=\"nvme1\",nsid=\"1\"} 512\n",
           ""},
          {"none", {}, "", "absent: /sys/class/nvme: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
