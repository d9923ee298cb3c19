// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Interrupts, Cases) {
  check_cases("interrupts",
              {
                  {"two CPUs",
                   {{"proc/interrupts",
                     "           CPU0       CPU1\n"
                     "  1:      10490        0  IR-IO-APIC-edge      i8042\n"
                     " 46: 5 6  PCI-MSI  x, y\n"
                     "NMI:         47       6713   Non-maskable interrupts\n"
                     "ERR:          0\n"}},
                   "node_interrupts_total{cpu=\"0\",devices=\"i8042\",info=\"IR-IO-APIC-edge\",type=\"1\"} 10490\n"
                   "node_interrupts_total{cpu=\"1\",devices=\"i8042\",info=\"IR-IO-APIC-edge\",type=\"1\"} 0\n"
                   "node_interrupts_total{cpu=\"0\",devices=\"x, y\",info=\"PCI-MSI\",type=\"46\"} 5\n"
                   "node_interrupts_total{cpu=\"1\",devices=\"x, y\",info=\"PCI-MSI\",type=\"46\"} 6\n"
                   "node_interrupts_total{cpu=\"0\",devices=\"\",info=\"Non-maskable interrupts\",type=\"NMI\"} 47\n"
                   "node_interrupts_total{cpu=\"1\",devices=\"\",info=\"Non-maskable interrupts\",type=\"NMI\"} 6713\n",
                   ""},
                  {"without zeros, only two",
                   {{"proc/interrupts",
                     "           CPU0       CPU1\n"
                     "  1:      10490        0  IR-IO-APIC-edge      i8042\n"
                     " 46: 5 6  PCI-MSI  x, y\n"
                     "NMI:         47       6713   Non-maskable interrupts\n"
                     "ERR:          0\n"}},
                   "node_interrupts_total{cpu=\"0\",devices=\"i8042\",info=\"IR-IO-APIC-edge\",type=\"1\"} 10490\n"
                   "node_interrupts_total{cpu=\"0\",devices=\"x, y\",info=\"PCI-MSI\",type=\"46\"} 5\n"
                   "node_interrupts_total{cpu=\"1\",devices=\"x, y\",info=\"PCI-MSI\",type=\"46\"} 6\n",
                   "",
                   {{"collector.interrupts.include-zeros", "false"}, {"collector.interrupts.name-exclude", "^NMI"}}},
                  {"include by device",
                   {{"proc/interrupts",
                     "           CPU0       CPU1\n"
                     "  1:      10490        0  IR-IO-APIC-edge      i8042\n"
                     " 46: 5 6  PCI-MSI  x, y\n"
                     "NMI:         47       6713   Non-maskable interrupts\n"
                     "ERR:          0\n"}},
                   "node_interrupts_total{cpu=\"0\",devices=\"i8042\",info=\"IR-IO-APIC-edge\",type=\"1\"} 10490\n"
                   "node_interrupts_total{cpu=\"1\",devices=\"i8042\",info=\"IR-IO-APIC-edge\",type=\"1\"} 0\n",
                   "",
                   {{"collector.interrupts.name-include", ";i8042$"}}},
                  {"CPUs that are off have no column",
                   {{"proc/interrupts",
                     "           CPU0       CPU2       CPU5\n"
                     "NMI:         10         20         50   Non-maskable interrupts\n"}},
                   "node_interrupts_total{cpu=\"0\",devices=\"\",info=\"Non-maskable interrupts\",type=\"NMI\"} 10\n"
                   "node_interrupts_total{cpu=\"2\",devices=\"\",info=\"Non-maskable interrupts\",type=\"NMI\"} 20\n"
                   "node_interrupts_total{cpu=\"5\",devices=\"\",info=\"Non-maskable interrupts\",type=\"NMI\"} 50\n",
                   ""},
                  {"no header",
                   {{"proc/interrupts", "NMI: 10 20 Non-maskable interrupts\n"}},
                   "",
                   "malformed: /proc/interrupts: 'NMI: 10 20 Non-maskable interrupts': a line of CPUs expected"},
                  {"torn",
                   {{"proc/interrupts",
                     "  CPU0 CPU1\n"
                     "  1:   10490"}},
                   "",
                   ""},
                  {"empty", {{"proc/interrupts", ""}}, "", "malformed: /proc/interrupts: '': a line of CPUs expected"},
                  {"no file", {}, "", "gone: /proc/interrupts: No such file or directory (ENOENT)"},
              });
}

}  // namespace vitald
