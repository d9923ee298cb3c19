// SPDX-License-Identifier: Apache-2.0
#include "agent/http/waiting.h"

#include <algorithm>

namespace vitald {

void Waiting::remove(const Exchange& exchange) {
  list_.remove_if([&](const Row& row) { return row.exchange == &exchange; });
}

std::vector<Waiting::Answered> Waiting::answered(std::int64_t now_boot_ns, bool woken) {
  std::vector<Answered> out;
  for (auto it = list_.begin(); it != list_.end();) {
    std::optional<Response> response;
    if (woken || it->pending->deadline_boot_ns() <= now_boot_ns) response = it->pending->poll(now_boot_ns);
    if (!response) {
      ++it;
      continue;
    }
    out.push_back({it->exchange, std::move(response)});
    it = list_.erase(it);
  }
  return out;
}

std::vector<Waiting::Answered> Waiting::all() {
  std::vector<Answered> out;
  for (const auto& row : list_) out.push_back({row.exchange, std::nullopt});
  list_.clear();
  return out;
}

std::int64_t Waiting::wants_snapshot_boot_ns() const {
  std::int64_t newest = 0;
  for (const auto& row : list_) newest = std::max(newest, row.pending->wants_snapshot_boot_ns());
  return newest;
}

std::optional<std::int64_t> Waiting::deadline_boot_ns() const {
  if (list_.empty()) return std::nullopt;
  return std::ranges::min(list_, {}, [](const Row& row) { return row.pending->deadline_boot_ns(); })
      .pending->deadline_boot_ns();
}

}  // namespace vitald
