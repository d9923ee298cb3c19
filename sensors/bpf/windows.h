// SPDX-License-Identifier: Apache-2.0
// The windows of 100 ms that the program on sched_switch keeps, read back.
#pragma once

#include <cstdint>
#include <span>

#include "bpf/include/vitald/sched.h"

namespace vitald {

// Adds the CPU time of the windows first, first + 1, ... to `into`, in ns. Of what is older than the ring nothing is
// known; the newest window of the row may still grow.
void add_windows(const vitald_sched_peaks& row, std::uint64_t first, std::span<double> into);
// The same of a slice that has not ended yet.
void add_slice(std::uint64_t since_ns, std::uint64_t now_ns, std::uint64_t first, std::span<double> into);

}  // namespace vitald
