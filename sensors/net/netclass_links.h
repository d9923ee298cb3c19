// SPDX-License-Identifier: Apache-2.0
// netclass by rtnetlink and ethtool instead of /sys/class/net.
#pragma once

#include <memory>

#include "core/collector.h"
#include "sensors/read/name_filter.h"

namespace vitald {

// netclass as --collector.netclass.netlink has it: from rtnetlink and ethtool, with other labels than from
// sysfs. `with_stats` adds the traffic counters.
std::unique_ptr<Collector> make_netclass_links(const Host& host, NameFilter ignored, bool with_stats);

}  // namespace vitald
