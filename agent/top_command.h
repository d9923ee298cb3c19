// SPDX-License-Identifier: Apache-2.0
// `vitald top`: the host at a glance in a terminal, live. It asks the vitald that runs.
#pragma once

#include <cstddef>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/asking.h"
#include "agent/config/config.h"

namespace vitald {

// The exit status.
int run_top(const Config& config, std::ostream& out);
std::string_view top_help();

// What one look has found; null where the server has none (no rules, no history), and where it has not answered.
struct TopLook {
  std::string url;
  asking::json utilization, verdict, alerts, owners;  // `data` of each; owners: results of a query
  // Not answered in time, or that it could not be (in the server's words), which says nothing: a host may be slow
  // because of what would stand there.
  struct {
    std::optional<std::string> utilization = {}, verdict = {}, alerts = {}, owners = {};
  } unanswered;
};
// The screen as lines of at most `width` columns, `height` at most (0: as many as there are). `plain`: without colours.
std::vector<std::string> top_screen(const TopLook& look, std::size_t width, std::size_t height, bool plain,
                                    std::size_t sort);
// Of a request that failed: nullopt where the server says that it has none (no history, no such page), else why nobody
// knows; empty: not in time.
std::optional<std::string> why_unanswered(const asking::Failed& failed);
// What owners can be sorted by.
inline constexpr std::string_view kTopColumns[] = {"CPU", "WAIT", "IO", "IO/s"};

}  // namespace vitald
