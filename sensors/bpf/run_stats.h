// SPDX-License-Identifier: Apache-2.0
// Whether the kernel counts the runs of BPF programs.
#pragma once

#include <cstdint>

namespace vitald {

// True while kernel.bpf_stats_enabled is 1, and ever after: counters that have been seen stay, or they would look like
// a restart. Asked once a second for all who ask. Any thread. `now_ns`: CLOCK_MONOTONIC.
bool kernel_counts_runs(std::int64_t now_ns);

}  // namespace vitald
