// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Interrupts, Cases) {
  check_cases(
      "interrupts",
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
          {"s390x: the sums of others say no more than their name",
           {{"proc/interrupts",
             "           CPU0       CPU1       \n"
             "EXT:      38511      26219 \n"
             "CLK:      28401      20213   [EXT] Clock Comparator\n"}},
           "node_interrupts_total{cpu=\"0\",devices=\"\",info=\"\",type=\"EXT\"} 38511\n"
           "node_interrupts_total{cpu=\"1\",devices=\"\",info=\"\",type=\"EXT\"} 26219\n"
           "node_interrupts_total{cpu=\"0\",devices=\"\",info=\"[EXT] Clock Comparator\",type=\"CLK\"} 28401\n"
           "node_interrupts_total{cpu=\"1\",devices=\"\",info=\"[EXT] Clock Comparator\",type=\"CLK\"} 20213\n",
           ""},
          {"arm: the name of who has the fast interrupts, and errors",
           {{"proc/interrupts",
             "           CPU0       CPU1       \n"
             "FIQ:              usb_fiq\n"
             "IPI1:         20         21  Timer broadcast interrupts\n"
             "Err:          0\n"}},
           "node_interrupts_total{cpu=\"0\",devices=\"\",info=\"Timer broadcast interrupts\",type=\"IPI1\"} 20\n"
           "node_interrupts_total{cpu=\"1\",devices=\"\",info=\"Timer broadcast interrupts\",type=\"IPI1\"} 21\n",
           ""},
          {"one CPU: errors are not its own",
           {{"proc/interrupts",
             "           CPU0\nEXT:      38511 \nERR:          0\nMIS:          0\nBAD:          0\n"}},
           "node_interrupts_total{cpu=\"0\",devices=\"\",info=\"\",type=\"EXT\"} 38511\n",
           ""},
          {"a word where a number should be is told",
           {{"proc/interrupts", "           CPU0       CPU1\nNMI:      x 2   Non-maskable\n"}},
           "",
           "malformed: /proc/interrupts: 'NMI:      x 2   Non-maskable': a number per CPU and what it is expected"},
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
