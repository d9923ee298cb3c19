// SPDX-License-Identifier: Apache-2.0
// The list of all collectors, made from collectors.list.
#include "core/collector.h"

namespace vitald {

// Each collector's file defines its CollectorInfo under the name the list gives it. An explicit list, not
// static constructors: the order is defined and one screen shows everything vitald can do.
#define COLLECTOR(name, folder, state, runs) extern const CollectorInfo collector_##name;
#include "sensors/collectors.inc"
#undef COLLECTOR

std::span<const CollectorEntry> collector_list() {
#define COLLECTOR(name, folder, state, runs) {#name, #folder, DefaultState::state, Runs::runs, &collector_##name},
  static const CollectorEntry kList[] = {
#include "sensors/collectors.inc"
  };
#undef COLLECTOR
  return kList;
}

}  // namespace vitald
