// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/windows.h"

#include <algorithm>

namespace vitald {
namespace {

constexpr std::uint64_t kWindowNs = VITALD_WINDOW_NS;
constexpr double kWindow = VITALD_WINDOW_NS;
constexpr std::uint64_t kFullUnits = kWindowNs >> VITALD_WINDOW_SHIFT;  // and a rest

}  // namespace

void add_windows(const vitald_sched_peaks& row, std::uint64_t first, std::span<double> into) {
  const auto add = [&](std::uint64_t window, double ns) {
    if (window >= first && window - first < into.size()) into[window - first] += ns;
  };
  auto window = row.window;
  add(window, static_cast<double>(row.ns));
  for (std::uint64_t n = 0; n < std::min<std::uint64_t>(row.count, VITALD_WINDOWS) && window > first; ++n) {
    const std::uint64_t ended = row.ended[(row.count - 1 - n) % VITALD_WINDOWS];
    const auto distance = std::min<std::uint64_t>(ended >> 8, window);
    if ((ended & VITALD_WINDOW_FULL) != 0)
      for (std::uint64_t back = 1; back < distance; ++back) add(window - back, kWindow);
    if (ended >> 8 >= 255) return;
    window -= distance;
    const auto units = ended & VITALD_WINDOW_UNITS;
    add(window, units >= kFullUnits ? kWindow : static_cast<double>(units << VITALD_WINDOW_SHIFT));
  }
}

void add_slice(std::uint64_t since_ns, std::uint64_t now_ns, std::uint64_t first, std::span<double> into) {
  for (auto window = std::max(since_ns / kWindowNs, first); window * kWindowNs < now_ns; ++window) {
    if (window - first >= into.size()) return;
    const auto begin = std::max(since_ns, window * kWindowNs);
    const auto end = std::min(now_ns, (window + 1) * kWindowNs);
    if (end > begin) into[window - first] += static_cast<double>(end - begin);
  }
}

}  // namespace vitald
