// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/order_change.h"

namespace vitald {

bool OrderChange::find_in(std::uint32_t batch, const std::shared_ptr<const Layout>& before,
                          const std::shared_ptr<const Layout>& after,
                          const std::unordered_map<const MetricDesc*, std::uint32_t>& of) {
  auto& now = now_[batch];
  now.clear();
  if (before == after) return true;
  const auto changes = LayoutChange::between(*before, *after);
  if (!changes) return false;
  const auto samples = before->samples(), samples_now = after->samples();
  now.assign(before->value_count(), kGone);
  std::size_t from = 0, to = 0;
  const auto keep_until = [&](std::size_t end) {
    for (; from < end; ++from, ++to) now[samples[from].value] = samples_now[to].value;
  };
  for (const auto& c : *changes) {
    keep_until(c.before);
    from += c.gone;
    for (const auto end = to + c.come; to < end; ++to) {
      if (samples_now[to].family->shown == Shown::inside) continue;
      const auto family = of.find(samples_now[to].family);
      if (family == of.end()) return false;
      arrivals_.push_back({family->second, 0, batch, &samples_now[to]});
    }
  }
  keep_until(samples.size());
  return true;
}

}  // namespace vitald
