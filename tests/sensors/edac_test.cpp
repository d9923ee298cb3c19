// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Edac, Cases) {
  check_cases(
      "edac",
      {
          {"one controller, two channels",
           {{"sys/devices/system/edac/mc/mc0/ce_count", "1\n"},
            {"sys/devices/system/edac/mc/mc0/ce_noinfo_count", "2\n"},
            {"sys/devices/system/edac/mc/mc0/ue_count", "5\n"},
            {"sys/devices/system/edac/mc/mc0/ue_noinfo_count", "6\n"},
            {"sys/devices/system/edac/mc/mc0/csrow0/ce_count", "3\n"},
            {"sys/devices/system/edac/mc/mc0/csrow0/ue_count", "4\n"},
            {"sys/devices/system/edac/mc/mc0/csrow0/ch0_ce_count", "7\n"},
            {"sys/devices/system/edac/mc/mc0/csrow0/ch0_ue_count", "8\n"},
            {"sys/devices/system/edac/mc/mc0/csrow0/ch0_dimm_label", "CPU#0csrow#1channel#2\n"},
            {"sys/devices/system/edac/mc/mc0/csrow0/ch1_ce_count", "9\n"},
            {"sys/devices/system/edac/mc/power/x", ""}},
           "node_edac_correctable_errors_total{controller=\"0\"} 1\n"
           "node_edac_csrow_correctable_errors_total{controller=\"0\",csrow=\"unknown\"} 2\n"
           "node_edac_uncorrectable_errors_total{controller=\"0\"} 5\n"
           "node_edac_csrow_uncorrectable_errors_total{controller=\"0\",csrow=\"unknown\"} 6\n"
           "node_edac_csrow_correctable_errors_total{controller=\"0\",csrow=\"0\"} 3\n"
           "node_edac_csrow_uncorrectable_errors_total{controller=\"0\",csrow=\"0\"} 4\n"
           "node_edac_channel_correctable_errors_total{channel=\"0\",controller=\"0\",csrow=\"0\",dimm_"
           "label=\"CPU0_csrow1_channel2\"} 7\n"
           "node_edac_channel_uncorrectable_errors_total{channel=\"0\",controller=\"0\",csrow=\"0\","
           "dimm_label=\"CPU0_csrow1_channel2\"} 8\n"
           "node_edac_channel_correctable_errors_total{channel=\"1\",controller=\"0\",csrow=\"0\",dimm_"
           "label=\"unknown\"} 9\n",
           ""},
          {"DIMMs in place of csrows",
           {{"sys/devices/system/edac/mc/mc0/ce_count", "3\n"},
            {"sys/devices/system/edac/mc/mc0/ce_noinfo_count", "0\n"},
            {"sys/devices/system/edac/mc/mc0/ue_count", "0\n"},
            {"sys/devices/system/edac/mc/mc0/ue_noinfo_count", "0\n"},
            {"sys/devices/system/edac/mc/mc0/dimm0/dimm_ce_count", "3\n"},
            {"sys/devices/system/edac/mc/mc0/dimm0/dimm_ue_count", "0\n"},
            {"sys/devices/system/edac/mc/mc0/dimm0/dimm_label", "CPU#0_DIMM#1\n"},
            {"sys/devices/system/edac/mc/mc0/rank7/dimm_ce_count", "0\n"},
            {"sys/devices/system/edac/mc/mc0/rank7/dimm_ue_count", "x\n"}},
           "node_edac_correctable_errors_total{controller=\"0\"} 3\n"
           "node_edac_csrow_correctable_errors_total{controller=\"0\",csrow=\"unknown\"} 0\n"
           "node_edac_uncorrectable_errors_total{controller=\"0\"} 0\n"
           "node_edac_csrow_uncorrectable_errors_total{controller=\"0\",csrow=\"unknown\"} 0\n"
           "node_edac_dimm_correctable_errors_total{controller=\"0\",dimm=\"dimm0\",dimm_label=\"CPU#0_"
           "DIMM#1\"} 3\n"
           "node_edac_dimm_uncorrectable_errors_total{controller=\"0\",dimm=\"dimm0\",dimm_label=\"CPU#0_"
           "DIMM#1\"} 0\n"
           "node_edac_dimm_correctable_errors_total{controller=\"0\",dimm=\"rank7\",dimm_label=\"unknown\"} "
           "0\n",
           "malformed: /sys/devices/system/edac/mc/mc0/rank7/dimm_ue_count: 'x': a count expected"},
          {"DIMMs without counts, before Linux 4.10",
           {{"sys/devices/system/edac/mc/mc0/ce_count", "1\n"},
            {"sys/devices/system/edac/mc/mc0/ce_noinfo_count", "2\n"},
            {"sys/devices/system/edac/mc/mc0/ue_count", "5\n"},
            {"sys/devices/system/edac/mc/mc0/ue_noinfo_count", "6\n"},
            {"sys/devices/system/edac/mc/mc0/dimm0/dimm_label", "CPU_SrcID#0\n"}},
           "node_edac_correctable_errors_total{controller=\"0\"} 1\n"
           "node_edac_csrow_correctable_errors_total{controller=\"0\",csrow=\"unknown\"} 2\n"
           "node_edac_uncorrectable_errors_total{controller=\"0\"} 5\n"
           "node_edac_csrow_uncorrectable_errors_total{controller=\"0\",csrow=\"unknown\"} 6\n",
           ""},
          {"no csrows",
           {{"sys/devices/system/edac/mc/mc0/ce_count", "1\n"},
            {"sys/devices/system/edac/mc/mc0/ce_noinfo_count", "2\n"},
            {"sys/devices/system/edac/mc/mc0/ue_count", "5\n"},
            {"sys/devices/system/edac/mc/mc0/ue_noinfo_count", "6\n"}},
           "node_edac_correctable_errors_total{controller=\"0\"} 1\n"
           "node_edac_csrow_correctable_errors_total{controller=\"0\",csrow=\"unknown\"} 2\n"
           "node_edac_uncorrectable_errors_total{controller=\"0\"} 5\n"
           "node_edac_csrow_uncorrectable_errors_total{controller=\"0\",csrow=\"unknown\"} 6\n",
           ""},
          {"a count is missing",
           {{"sys/devices/system/edac/mc/mc0/ce_count", "1\n"}},
           "node_edac_correctable_errors_total{controller=\"0\"} 1\n",
           "malformed: /sys/devices/system/edac/mc/mc0/ce_noinfo_count: 'not there': a count expected (and 2 more)"},
          {"not a number",
           {{"sys/devices/system/edac/mc/mc0/ce_count", "x\n"}},
           "",
           "malformed: /sys/devices/system/edac/mc/mc0/ce_count: 'x': a count expected (and 3 more)"},
          {"no controller", {}, "", ""},
      });
}

}  // namespace vitald
