// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Nvmesubsystem, Cases) {
  check_cases(
      "nvmesubsystem",
      {
          {"two paths",
           {{"sys/class/nvme-subsystem/nvme-subsys0/subsysnqn", "nqn.2014\n"},
            {"sys/class/nvme-subsystem/nvme-subsys0/model", "M 1\n"},
            {"sys/class/nvme-subsystem/nvme-subsys0/serial", "S\n"},
            {"sys/class/nvme-subsystem/nvme-subsys0/iopolicy", "numa\n"},
            {"sys/class/nvme-subsystem/nvme-subsys0/nvme0/state", "live\n"},
            {"sys/class/nvme-subsystem/nvme-subsys0/nvme0/transport", "tcp\n"},
            {"sys/class/nvme-subsystem/nvme-subsys0/nvme1/state", "deleting (no IO)\n"},
            {"sys/class/nvme-subsystem/nvme-subsys0/nvme1/transport", "rdma\n"},
            {"sys/class/nvme-subsystem/nvme-subsys0/nvme0n1/x", ""},
            {"sys/class/nvme-subsystem/other/x", ""}},
           "node_nvmesubsystem_info{iopolicy=\"numa\",model=\"M "
           "1\",nqn=\"nqn.2014\",serial=\"S\",subsystem=\"nvme-subsys0\"} 1\n"
           "node_nvmesubsystem_path_state{controller=\"nvme0\",state=\"connecting\",subsystem=\"nvme-subsys0\","
           "transport=\"tcp\"} 0\n"
           "node_nvmesubsystem_path_state{controller=\"nvme0\",state=\"dead\",subsystem=\"nvme-subsys0\",transport="
           "\"tcp\"} 0\n"
           "node_nvmesubsystem_path_state{controller=\"nvme0\",state=\"deleting\",subsystem=\"nvme-subsys0\",transport="
           "\"tcp\"} 0\n"
           "node_nvmesubsystem_path_state{controller=\"nvme0\",state=\"live\",subsystem=\"nvme-subsys0\",transport="
           "\"tcp\"} 1\n"
           "node_nvmesubsystem_path_state{controller=\"nvme0\",state=\"new\",subsystem=\"nvme-subsys0\",transport="
           "\"tcp\"} 0\n"
           "node_nvmesubsystem_path_state{controller=\"nvme0\",state=\"resetting\",subsystem=\"nvme-subsys0\","
           "transport=\"tcp\"} 0\n"
           "node_nvmesubsystem_path_state{controller=\"nvme0\",state=\"unknown\",subsystem=\"nvme-subsys0\",transport="
           "\"tcp\"} 0\n"
           "node_nvmesubsystem_namespace_info{device=\"nvme0n1\",subsystem=\"nvme-subsys0\"} 1\n"
           "node_nvmesubsystem_path_state{controller=\"nvme1\",state=\"connecting\",subsystem=\"nvme-subsys0\","
           "transport=\"rdma\"} 0\n"
           "node_nvmesubsystem_path_state{controller=\"nvme1\",state=\"dead\",subsystem=\"nvme-subsys0\",transport="
           "\"rdma\"} 0\n"
           "node_nvmesubsystem_path_state{controller=\"nvme1\",state=\"deleting\",subsystem=\"nvme-subsys0\",transport="
           "\"rdma\"} 1\n"
           "node_nvmesubsystem_path_state{controller=\"nvme1\",state=\"live\",subsystem=\"nvme-subsys0\",transport="
           "\"rdma\"} 0\n"
           "node_nvmesubsystem_path_state{controller=\"nvme1\",state=\"new\",subsystem=\"nvme-subsys0\",transport="
           "\"rdma\"} 0\n"
           "node_nvmesubsystem_path_state{controller=\"nvme1\",state=\"resetting\",subsystem=\"nvme-subsys0\","
           "transport=\"rdma\"} 0\n"
           "node_nvmesubsystem_path_state{controller=\"nvme1\",state=\"unknown\",subsystem=\"nvme-subsys0\",transport="
           "\"rdma\"} 0\n"
           "node_nvmesubsystem_paths{subsystem=\"nvme-subsys0\"} 2\n"
           "node_nvmesubsystem_paths_live{subsystem=\"nvme-subsys0\"} 1\n",
           ""},
          {"strange state, nothing else",
           {{"sys/class/nvme-subsystem/nvme-subsys0/nvme7/state", "x\n"}},
           "node_nvmesubsystem_info{iopolicy=\"\",model=\"\",nqn=\"\",serial=\"\",subsystem=\"nvme-subsys0\"} 1\n"
           "node_nvmesubsystem_path_state{controller=\"nvme7\",state=\"connecting\",subsystem=\"nvme-subsys0\","
           "transport=\"\"} 0\n"
           "node_nvmesubsystem_path_state{controller=\"nvme7\",state=\"dead\",subsystem=\"nvme-subsys0\",transport="
           "\"\"} 0\n"
           "node_nvmesubsystem_path_state{controller=\"nvme7\",state=\"deleting\",subsystem=\"nvme-subsys0\",transport="
           "\"\"} 0\n"
           "node_nvmesubsystem_path_state{controller=\"nvme7\",state=\"live\",subsystem=\"nvme-subsys0\",transport="
           "\"\"} 0\n"
           "node_nvmesubsystem_path_state{controller=\"nvme7\",state=\"new\",subsystem=\"nvme-subsys0\",transport=\"\"}"
           " 0\n"
           "node_nvmesubsystem_path_state{controller=\"nvme7\",state=\"resetting\",subsystem=\"nvme-subsys0\","
           "transport=\"\"} 0\n"
           "node_nvmesubsystem_path_state{controller=\"nvme7\",state=\"unknown\",subsystem=\"nvme-subsys0\",transport="
           "\"\"} 1\n"
           "node_nvmesubsystem_paths{subsystem=\"nvme-subsys0\"} 1\n"
           "node_nvmesubsystem_paths_live{subsystem=\"nvme-subsys0\"} 0\n",
           ""},
          {"no NVMe", {}, "", "absent: /sys/class/nvme-subsystem: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
