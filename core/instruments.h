// SPDX-License-Identifier: Apache-2.0
// vitald's own instruments (cycles, requests, queues, hooks) are prometheus-cpp counters, gauges and
// histograms in one registry. sensors/self walks it into a Batch, so they leave like every other number.
#pragma once

#include <prometheus/registry.h>

namespace vitald {

// Thread-safe. Name instruments vitald_<what>_<unit>[_total].
prometheus::Registry& instruments();

}  // namespace vitald
