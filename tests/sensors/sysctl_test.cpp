// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Sysctl, Cases) {
  check_cases(
      "sysctl",
      {
          {"one, indexed, keyed, info",
           {{"proc/sys/fs/file-nr", "2112\t0\t1449064\n"},
            {"proc/sys/kernel/threads-max", "6706\n"},
            {"proc/sys/kernel/seccomp/actions_avail", "kill trap\n"}},
           "node_sysctl_fs_file_nr{index=\"0\"} 2112\n"
           "node_sysctl_fs_file_nr{index=\"1\"} 0\n"
           "node_sysctl_fs_file_nr{index=\"2\"} 1449064\n"
           "node_sysctl_fs_file_nr_total 2112\n"
           "node_sysctl_fs_file_nr_current 0\n"
           "node_sysctl_fs_file_nr_max 1449064\n"
           "node_sysctl_kernel_threads_max 6706\n"
           "node_sysctl_info{index=\"0\",name=\"kernel.seccomp.actions_avail\",value=\"kill\"} 1\n"
           "node_sysctl_info{index=\"1\",name=\"kernel.seccomp.actions_avail\",value=\"trap\"} 1\n",
           "",
           {{"collector.sysctl.include", "fs.file-nr"},
            {"collector.sysctl.include", "fs.file-nr:total,current,max"},
            {"collector.sysctl.include", "kernel.threads-max"},
            {"collector.sysctl.include-info", "kernel.seccomp.actions_avail"}}},
          {"larger than a signed number",
           {{"proc/sys/kernel/shmmax", "18446744073692774399\n"}, {"proc/sys/kernel/sched_rt_runtime_us", "-1\n"}},
           "node_sysctl_kernel_shmmax 1.8446744073692774e+19\n"
           "node_sysctl_kernel_sched_rt_runtime_us -1\n",
           "",
           {{"collector.sysctl.include", "kernel.shmmax"}, {"collector.sysctl.include", "kernel.sched_rt_runtime_us"}}},
          {"larger than any",
           {{"proc/sys/kernel/shmmax", "18446744073709551616\n"}},
           "",
           "malformed: /proc/sys/kernel/shmmax: '18446744073709551616': numbers expected",
           {{"collector.sysctl.include", "kernel.shmmax"}}},
          {"with slashes, a point is a point",
           {{"proc/sys/net/ipv4/conf/eth0.100/forwarding", "1\n"}},
           "node_sysctl_net_ipv4_conf_eth0_100_forwarding 1\n",
           "",
           {{"collector.sysctl.include", "net/ipv4/conf/eth0.100/forwarding"}}},
          {"the same with points, as sysctl(8) prints it",
           {{"proc/sys/net/ipv4/conf/eth0.100/forwarding", "1\n"}},
           "node_sysctl_net_ipv4_conf_eth0_100_forwarding 1\n",
           "",
           {{"collector.sysctl.include", "net.ipv4.conf.eth0/100.forwarding"}}},
          {"keys for another number of values",
           {{"proc/sys/fs/file-nr", "1 2\n"}},
           "",
           "malformed: /proc/sys/fs/file-nr: '1 2': as many values as keys (3) expected",
           {{"collector.sysctl.include", "fs.file-nr:a,b,c"}}},
          {"text as number",
           {{"proc/sys/kernel/ostype", "Linux\n"}},
           "",
           "malformed: /proc/sys/kernel/ostype: 'Linux': numbers expected",
           {{"collector.sysctl.include", "kernel.ostype"}}},
          {"empty",
           {{"proc/sys/kernel/domainname", "\n"}},
           "",
           "malformed: /proc/sys/kernel/domainname: '': a value expected",
           {{"collector.sysctl.include-info", "kernel.domainname"}}},
          {"not there",
           {},
           "",
           "gone: /proc/sys/a/b: No such file or directory (ENOENT)",
           {{"collector.sysctl.include", "a.b"}}},
          {"nothing asked", {}, "", ""},
      });
}

}  // namespace vitald
