// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(PcieErrors, Cases) {
  const std::string root = "sys/bus/pci/devices/0000:00:01.0/", card = "sys/bus/pci/devices/0000:01:00.0/";
  check_cases("pcie_errors",
              {
                  {"by severity, and a device without",
                   {{root + "aer_dev_correctable", "Receiver Error 2\nBad TLP 1\nTOTAL_ERR_COR 3\n"},
                    {root + "aer_dev_nonfatal", "Undefined 0\nTOTAL_ERR_NONFATAL 1\n"},
                    {root + "aer_dev_fatal", "Undefined 0\nTOTAL_ERR_FATAL 0\n"},
                    {card + "class", "0x010802\n"}},
                   "vitald_pcie_errors_total{device=\"0000:00:01.0\",severity=\"correctable\"} 3\n"
                   "vitald_pcie_errors_total{device=\"0000:00:01.0\",severity=\"nonfatal\"} 1\n"
                   "vitald_pcie_errors_total{device=\"0000:00:01.0\",severity=\"fatal\"} 0\n"},
                  {"no device that tells",
                   {{card + "class", "0x010802\n"}},
                   "",
                   "absent: /sys/bus/pci/devices/*/aer_dev_*: no device reports its errors to the kernel"},
                  {"no PCI", {}, "", "absent: /sys/bus/pci/devices: No such file or directory (ENOENT)"},
              });
}

TEST(PcieErrors, AFileThatIsNotUnderstoodCostsItself) {
  const auto got = run_collector("pcie_errors", {{"sys/bus/pci/devices/a/aer_dev_fatal", "TOTAL_ERR_FATAL many\n"},
                                                 {"sys/bus/pci/devices/a/aer_dev_nonfatal", "TOTAL_ERR_NONFATAL 7\n"}});
  EXPECT_EQ(got.text, "vitald_pcie_errors_total{device=\"a\",severity=\"nonfatal\"} 7\n");
  ASSERT_EQ(got.problems.size(), 1U);
}

}  // namespace vitald
