// SPDX-License-Identifier: Apache-2.0
// The energy counters of this machine's processors, memory and platform: each thing counted once, from the best source.
#pragma once

#include <memory>

#include "core/collector.h"
#include "sensors/power/perf_energy.h"

namespace vitald {

// absent: neither the PMU `power` nor a zone of powercap is there. Without `open` only powercap is asked.
Result<std::unique_ptr<Collector>> make_energy_meters(const Host& host, OpenPerfEvent open);

}  // namespace vitald
