// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Processes, Cases) {
  check_cases("processes",
              {
                  {"names with brackets, threads",
                   {{"proc/sys/kernel/threads-max", "6706\n"},
                    {"proc/sys/kernel/pid_max", "146\n"},
                    {"proc/1/stat", "1 (init) S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 36 1 2 3\n"},
                    {"proc/1/task/1/stat", "1 (init) S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 36 1 2 3\n"},
                    {"proc/22/stat", "22 (a) R (b) R 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 2 0 36 1 2 3\n"},
                    {"proc/22/task/22/stat", "22 (x) R 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 2 0 36 1 2 3\n"},
                    {"proc/22/task/23/stat", "23 (x) D 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 2 0 36 1 2 3\n"},
                    {"proc/self", "->1"},
                    {"proc/meminfo", "x"}},
                   "node_processes_threads 3\n"
                   "node_processes_max_threads 6706\n"
                   "node_processes_state{state=\"R\"} 1\n"
                   "node_processes_state{state=\"S\"} 1\n"
                   "node_processes_threads_state{thread_state=\"D\"} 1\n"
                   "node_processes_threads_state{thread_state=\"R\"} 1\n"
                   "node_processes_threads_state{thread_state=\"S\"} 1\n"
                   "node_processes_pids 2\n"
                   "node_processes_max_processes 146\n",
                   ""},
                  {"torn and vanished",
                   {{"proc/sys/kernel/threads-max", "6706\n"},
                    {"proc/sys/kernel/pid_max", "146\n"},
                    {"proc/1/stat", "1 (init"},
                    {"proc/2/x", ""},
                    {"proc/3/comm", ""}},
                   "node_processes_threads 0\n"
                   "node_processes_max_threads 6706\n"
                   "node_processes_pids 0\n"
                   "node_processes_max_processes 146\n",
                   "malformed: process 1/stat: '1 (init': 'pid (name) S' and numbers expected"},
                  {"no limits",
                   {{"proc/1/stat", "1 (init) I 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 36 1 2 3\n"}},
                   "node_processes_threads 1\n"
                   "node_processes_state{state=\"I\"} 1\n"
                   "node_processes_pids 1\n",
                   "gone: /proc/sys/kernel/threads-max: No such file or directory (ENOENT) (and 1 more)"},
                  {"not a number",
                   {{"proc/sys/kernel/threads-max", "x"}},
                   "node_processes_threads 0\n"
                   "node_processes_pids 0\n",
                   "malformed: /proc/sys/kernel/threads-max: 'x': a number expected (and 1 more)"},
              });
}

}  // namespace vitald
