// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/trouble.h"

#include <algorithm>

#include "core/log.h"
#include "core/text/items.h"

namespace vitald {

std::string_view Trouble::kind(std::size_t index) {
  static constexpr std::string_view kNames[kKinds] = {"absent", "gone", "denied", "malformed", "timeout", "io", "bug"};
  return kNames[index];
}

bool Trouble::failed(const Error& error, std::span<const Error> problems, bool bug) {
  ++errors_[bug ? kErrcCount : static_cast<std::size_t>(error.kind)];
  left_out_ = error.kind == Errc::absent ? 0 : items_of(error.text);
  const bool others = note(problems);
  if (error.text == text_) return others;
  text_ = error.text;
  absent_ = error.kind == Errc::absent;
  if (absent_) log::debug("collector has no data", {{"collector", collector_}, {"err", text_}});
  else log::error("collector failed", {{"collector", collector_}, {"err", text_}});
  return true;
}

bool Trouble::worked(std::span<const Error> problems) {
  const bool again = !text_.empty();
  if (again) log::info("collector works again", {{"collector", collector_}});
  text_.clear();
  absent_ = false;
  left_out_ = 0;
  return note(problems) || again;
}

// Each is in the log once, for as long as it lasts, whether the collector failed beside it or not. True when they are
// others than before.
bool Trouble::note(std::span<const Error> problems) {
  std::vector<std::string> now;
  for (const auto& p : problems) {
    ++errors_[static_cast<std::size_t>(p.kind)];
    left_out_ += items_of(p.text);
    if (std::ranges::find(problems_, p.text) == problems_.end())
      log::warn("collector left something out", {{"collector", collector_}, {"err", p.text}});
    now.push_back(p.text);
  }
  const bool others = now != problems_;
  problems_ = std::move(now);
  return others;
}

}  // namespace vitald
