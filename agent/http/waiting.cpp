// SPDX-License-Identifier: Apache-2.0
#include "agent/http/waiting.h"

#include <algorithm>
#include <exception>

#include "core/log.h"

namespace vitald {

void Waiting::remove(const Exchange& exchange) {
  list_.remove_if([&](const Row& row) { return row.exchange == &exchange; });
}

std::list<Waiting::Row> Waiting::answered(std::int64_t now_boot_ns, bool woken) {
  std::list<Row> out;
  for (auto it = list_.begin(); it != list_.end();) {
    const auto row = it++;
    if (!woken && row->pending->deadline_boot_ns() > now_boot_ns) continue;
    try {
      row->response = row->pending->poll(now_boot_ns);
    } catch (const std::exception& e) {  // out of memory, or a bug: the others are not to wait for it
      row->failed = true;
      log::error("an exception instead of an answer", {{"err", e.what()}});
    }
    if (row->response || row->failed) out.splice(out.end(), list_, row);
  }
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
