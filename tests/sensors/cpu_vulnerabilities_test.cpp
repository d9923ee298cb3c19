// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(CpuVulnerabilities, Cases) {
  check_cases(
      "cpu_vulnerabilities",
      {
          {"all states",
           {{"sys/devices/system/cpu/vulnerabilities/itlb_multihit", "Not affected\n"},
            {"sys/devices/system/cpu/vulnerabilities/mds", "Vulnerable: Clear CPU buffers attempted, no microcode\n"},
            {"sys/devices/system/cpu/vulnerabilities/retbleed", "Mitigation: untrained return thunk;  SMT enabled\n"},
            {"sys/devices/system/cpu/vulnerabilities/srbds", "Unknown: Dependent on hypervisor status\n"},
            {"sys/devices/system/cpu/vulnerabilities/tsx", "KVM: Mitigation: VMX disabled"},
            {"sys/devices/system/cpu/vulnerabilities/empty", ""}},
           "node_cpu_vulnerabilities_info{codename=\"itlb_multihit\",mitigation=\"\",state=\"not affected\"} 1\n"
           "node_cpu_vulnerabilities_info{codename=\"mds\",mitigation=\"Clear CPU buffers attempted, no "
           "microcode\",state=\"vulnerable\"} 1\n"
           "node_cpu_vulnerabilities_info{codename=\"retbleed\",mitigation=\"untrained return thunk; SMT "
           "enabled\",state=\"mitigation\"} 1\n"
           "node_cpu_vulnerabilities_info{codename=\"srbds\",mitigation=\"Dependent on hypervisor "
           "status\",state=\"unknown\"} 1\n"
           "node_cpu_vulnerabilities_info{codename=\"tsx\",mitigation=\"KVM: Mitigation: VMX "
           "disabled\",state=\"unknown\"} 1\n",
           "malformed: /sys/devices/system/cpu/vulnerabilities/empty: '': a state expected"},
          {"vulnerable in other words: itlb_multihit and gather_data_sampling, or l1tf of a hypervisor",
           {{"sys/devices/system/cpu/vulnerabilities/itlb_multihit", "KVM: Vulnerable\n"},
            {"sys/devices/system/cpu/vulnerabilities/srbds", "Processor vulnerable\n"}},
           "node_cpu_vulnerabilities_info{codename=\"itlb_multihit\",mitigation=\"KVM: "
           "Vulnerable\",state=\"vulnerable\"} "
           "1\n"
           "node_cpu_vulnerabilities_info{codename=\"srbds\",mitigation=\"Processor "
           "vulnerable\",state=\"vulnerable\"} 1\n",
           ""},
          {"no folder", {}, "", ""},
      });
}

}  // namespace vitald
