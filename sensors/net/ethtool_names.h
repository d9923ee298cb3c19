// SPDX-License-Identifier: Apache-2.0
// Statistics of a network driver that become one name: none of them can be told from the others.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/metric.h"
#include "core/text/items.h"

namespace vitald {

// `families` are those of the statistics called `names` (null: not asked for). Takes away each that several have, and
// says which: "node_ethtool_x is rx-x, rx.x (and 3 more)", further families that is; empty when there are none.
inline std::string leave_out_ambiguous(std::span<const std::string> names, std::vector<const MetricDesc*>& families) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < families.size(); ++i)
    if (families[i]) order.push_back(i);
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return families[i]->name; });
  std::string said;
  std::size_t shared = 0;
  for (auto at = order.begin(); at != order.end();) {
    const auto name = families[*at]->name;
    const auto end = std::find_if(at, order.end(), [&](std::size_t i) { return families[i]->name != name; });
    if (end - at > 1) {
      if (shared == 0) said.append(name).append(" is ");
      for (auto one = at; one != end; ++one) {
        if (shared == 0) said.append(one == at ? "" : ", ").append(names[*one]);
        families[*one] = nullptr;
      }
      ++shared;
    }
    at = end;
  }
  return with_items(said, shared);
}

}  // namespace vitald
