// SPDX-License-Identifier: Apache-2.0
#include "core/text/suggest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace vitald {

namespace {
// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}
}  // namespace

std::string_view closest(std::string_view word, std::span<const std::string_view> candidates, std::size_t most) {
  std::string_view best;
  std::size_t best_distance = most + 1;
  for (const auto c : candidates) {
    // So much they differ at least; a word may be a megabyte.
    const auto longer = std::max(word.size(), c.size()) - std::min(word.size(), c.size());
    if (longer >= best_distance) continue;
    if (const auto d = distance(word, c); d < best_distance) best = c, best_distance = d;
  }
  return best;
}

std::string_view closest(std::string_view word, std::span<const std::string_view> candidates) {
  return closest(word, candidates, std::min<std::size_t>(2, (word.size() + 2) / 3));
}

std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates) {
  // Every flag of a section begins alike: only the last part says how much may differ.
  const auto best = closest(word, candidates, 1 + (word.size() - (word.rfind('.') + 1)) / 3);
  return best.empty() ? std::string() : fmt::format("; did you mean '{}'?", best);
}

}  // namespace vitald
