// SPDX-License-Identifier: Apache-2.0
// What a queueing discipline counts, from the attributes nested in TCA_STATS2 (gen_stats.h).
#pragma once

#include <linux/gen_stats.h>

#include <string_view>

#include "sensors/read/netlink.h"

namespace vitald {

// In the order of the families of qdisc.
struct QdiscCounts {
  double bytes = 0, packets = 0, drops = 0, requeues = 0, overlimits = 0, queue = 0, backlog = 0;
};

inline QdiscCounts parse_qdisc_counts(std::string_view nested) {
  QdiscCounts c;
  bool basic = false;  // the last attribute was TCA_STATS_BASIC
  while (auto attribute = take_attribute(nested)) {
    std::string_view payload = attribute->payload;
    // Packets beyond 32 bits follow in 64 (Linux 5.5), only where they differ. After those of the hardware alone they
    // are the hardware's.
    if (attribute->type == TCA_STATS_PKT64 && basic) c.packets = static_cast<double>(attribute->number());
    basic = attribute->type == TCA_STATS_BASIC;
    if (basic) {
      if (const auto numbers = take_struct<gnet_stats_basic>(payload)) {
        c.bytes = static_cast<double>(numbers->bytes);
        c.packets = numbers->packets;
      }
    } else if (attribute->type == TCA_STATS_QUEUE) {
      if (const auto queue = take_struct<gnet_stats_queue>(payload)) {
        c.queue = queue->qlen;
        c.backlog = queue->backlog;
        c.drops = queue->drops;
        c.requeues = queue->requeues;
        c.overlimits = queue->overlimits;
      }
    }
  }
  return c;
}

}  // namespace vitald
