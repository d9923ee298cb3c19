// SPDX-License-Identifier: Apache-2.0
#include "agent/http/outgoing.h"

#include <algorithm>
#include <set>
#include <utility>

namespace vitald {

bool Outgoing::add(Row row, const std::function<void(Exchange&)>& close) {
  const auto size = row.body ? row.body->size() : 0;
  if (size <= kLarge) return true;
  for (;;) {
    const auto own = row.scrape ? 0 : bytes_of(row.peer);
    const bool much_of_peer = own > 0 && own + size > kMostOfPeer;
    const bool much = !rows_.empty() && bytes_with(row.body.get()) > kMost;
    if (!much_of_peer && !much) break;
    const auto victim = slow(much_of_peer ? &row.peer : nullptr, row.since_boot_ns);
    if (victim == rows_.end()) {
      if (row.scrape) break;
      return false;
    }
    auto& exchange = *victim->exchange;
    rows_.erase(victim);
    close(exchange);
  }
  rows_.push_back(std::move(row));
  return true;
}

void Outgoing::remove(const Exchange& exchange) {
  rows_.remove_if([&](const Row& row) { return row.exchange == &exchange; });
}

std::size_t Outgoing::bytes_with(const std::string* another) const {
  std::set<const std::string*> bodies;
  for (const auto& row : rows_) bodies.insert(row.body.get());
  if (another) bodies.insert(another);
  std::size_t sum = 0;
  for (const auto* body : bodies) sum += body->size();
  return sum;
}

std::size_t Outgoing::bytes_of(const std::string& peer) const {
  std::size_t sum = 0;
  for (const auto& row : rows_)
    if (!row.scrape && row.peer == peer) sum += row.body->size();
  return sum;
}

std::list<Outgoing::Row>::iterator Outgoing::slow(const std::string* of, std::int64_t now_boot_ns) {
  auto found = rows_.end();
  std::size_t most = 0;
  for (auto it = rows_.begin(); it != rows_.end(); ++it) {
    if (of && (it->scrape || it->peer != *of)) continue;
    const auto seconds = static_cast<double>(it->body->size()) / kSlowBytesPerSecond;
    if (now_boot_ns - it->since_boot_ns < kSlowNs + static_cast<std::int64_t>(seconds * 1e9)) continue;
    std::size_t bytes = 0;
    for (const auto& row : rows_)
      if (row.peer == it->peer) bytes += row.body->size();
    if (bytes > most) most = bytes, found = it;
  }
  return found;
}

}  // namespace vitald
