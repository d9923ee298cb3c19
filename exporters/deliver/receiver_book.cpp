// SPDX-License-Identifier: Apache-2.0
#include "exporters/deliver/receiver_book.h"

#include <utility>

namespace vitald {

const char* to_string(CommandRun::Result result) {
  switch (result) {
    using enum CommandRun::Result;
    case ok: return "ok";
    case failed: return "failed";
    case timeout: return "timeout";
    case cut_off: break;
  }
  return "cut off";
}

void ReceiverBook::open(const std::string& name, std::string text, std::function<QueueStats()> stats) {
  const MutexLock lock(mutex_);
  auto& entry = entries_[name];
  entry.text = std::move(text);
  entry.stats = std::move(stats);
}

void ReceiverBook::close(const std::string& name) {
  const MutexLock lock(mutex_);
  entries_.erase(name);
}

void ReceiverBook::note(const std::string& name, CommandRun run) {
  const MutexLock lock(mutex_);
  const auto at = entries_.find(name);
  if (at == entries_.end()) return;
  auto& runs = at->second.runs;
  runs.push_front(std::move(run));
  if (runs.size() > kMostRuns) runs.pop_back();
}

std::vector<ReceiverBook::Row> ReceiverBook::rows() const {
  std::vector<Row> out;
  const MutexLock lock(mutex_);
  for (const auto& [name, entry] : entries_)
    out.push_back({name, entry.text, entry.stats(), {entry.runs.begin(), entry.runs.end()}});
  return out;
}

ReceiverBook& receiver_book() {
  static ReceiverBook book;
  return book;
}

}  // namespace vitald
