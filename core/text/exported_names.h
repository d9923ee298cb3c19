// SPDX-License-Identifier: Apache-2.0
// What a series' labels are called beside those of its target (job, instance), as Prometheus' scrape calls them without
// `honor_labels`.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace vitald {

// `own`: pairs of name and value, each name once. Those that are empty go: they are the same as none. Names that the
// target has too (`target`: a map by name) get `exported_` in front, again and again while the series or its target has
// that as well; shorter ones first. No name is there twice then.
template <class Pairs, class Target>
void rename_beside(const Target& target, Pairs& own) {
  std::erase_if(own, [](const auto& label) { return label.second.empty(); });
  std::vector<std::size_t> taken;
  for (std::size_t i = 0; i < own.size(); ++i)
    if (target.find(own[i].first) != target.end()) taken.push_back(i);
  std::ranges::stable_sort(taken, {}, [&](std::size_t i) { return own[i].first.size(); });
  for (const auto i : taken) {
    std::string name = own[i].first;
    const auto is_name = [&](const auto& label) { return label.first == name; };
    do name.insert(0, "exported_");
    while (target.find(name) != target.end() || std::ranges::any_of(own, is_name));
    own[i].first = std::move(name);
  }
}

}  // namespace vitald
