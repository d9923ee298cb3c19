// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Tapestats, Cases) {
  check_cases("tapestats", {
                               {"one drive",
                                {{"sys/class/scsi_tape/st0/stats/in_flight", "0\n"},
                                 {"sys/class/scsi_tape/st0/stats/io_ns", "1000000\n"},
                                 {"sys/class/scsi_tape/st0/stats/other_cnt", "2000000\n"},
                                 {"sys/class/scsi_tape/st0/stats/read_byte_cnt", "3000000\n"},
                                 {"sys/class/scsi_tape/st0/stats/read_cnt", "4000000\n"},
                                 {"sys/class/scsi_tape/st0/stats/read_ns", "5000000\n"},
                                 {"sys/class/scsi_tape/st0/stats/resid_cnt", "6000000\n"},
                                 {"sys/class/scsi_tape/st0/stats/write_byte_cnt", "7000000\n"},
                                 {"sys/class/scsi_tape/st0/stats/write_cnt", "8000000\n"},
                                 {"sys/class/scsi_tape/st0/stats/write_ns", "9000000\n"},
                                 {"sys/class/scsi_tape/nst0/stats/io_ns", "1\n"}},
                                "node_tape_io_now{device=\"st0\"} 0\n"
                                "node_tape_io_time_seconds_total{device=\"st0\"} 0.001\n"
                                "node_tape_io_others_total{device=\"st0\"} 2000000\n"
                                "node_tape_read_bytes_total{device=\"st0\"} 3000000\n"
                                "node_tape_reads_completed_total{device=\"st0\"} 4000000\n"
                                "node_tape_read_time_seconds_total{device=\"st0\"} 0.005\n"
                                "node_tape_residual_total{device=\"st0\"} 6000000\n"
                                "node_tape_written_bytes_total{device=\"st0\"} 7000000\n"
                                "node_tape_writes_completed_total{device=\"st0\"} 8000000\n"
                                "node_tape_write_time_seconds_total{device=\"st0\"} 0.009000000000000001\n",
                                ""},
                               {"ignored",
                                {{"sys/class/scsi_tape/st0/stats/in_flight", "0\n"},
                                 {"sys/class/scsi_tape/st0/stats/io_ns", "1000000\n"},
                                 {"sys/class/scsi_tape/st0/stats/other_cnt", "2000000\n"},
                                 {"sys/class/scsi_tape/st0/stats/read_byte_cnt", "3000000\n"},
                                 {"sys/class/scsi_tape/st0/stats/read_cnt", "4000000\n"},
                                 {"sys/class/scsi_tape/st0/stats/read_ns", "5000000\n"},
                                 {"sys/class/scsi_tape/st0/stats/resid_cnt", "6000000\n"},
                                 {"sys/class/scsi_tape/st0/stats/write_byte_cnt", "7000000\n"},
                                 {"sys/class/scsi_tape/st0/stats/write_cnt", "8000000\n"},
                                 {"sys/class/scsi_tape/st0/stats/write_ns", "9000000\n"}},
                                "",
                                "",
                                {{"collector.tapestats.ignored-devices", "^st0$"}}},
                               {"torn", {{"sys/class/scsi_tape/st0/stats/in_flight", ""}}, "", ""},
                               {"no tape", {}, "", "absent: /sys/class/scsi_tape: No such file or directory (ENOENT)"},
                           });
}

}  // namespace vitald
