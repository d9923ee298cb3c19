// SPDX-License-Identifier: Apache-2.0
// What a BPF map takes of memory, reckoned from its type and sizes: the kernel tells it only to who has the map open.
#pragma once

#include <optional>

#include "bpf/include/vitald/programs.h"

namespace vitald {

// Bytes, as the kernel reckons itself from Linux 6.4 (map_mem_usage in kernel/bpf/). Nothing for types of which it
// depends on what is in them, and for those that are not known. `cpus`: that are possible.
std::optional<double> bpf_map_bytes(const vitald_bpf_map& map, double cpus, double page_bytes);

}  // namespace vitald
