// SPDX-License-Identifier: Apache-2.0
// `vitald verdict`: what is wrong with this host, in some lines. It asks the vitald that runs.
#pragma once

#include <iosfwd>
#include <string_view>

#include "agent/asking.h"
#include "agent/config/config.h"

namespace vitald {

// The exit status: 0 all is well, 1 it cannot be asked, 2 something is wrong, 3 nobody knows.
int run_verdict(const Config& config, std::ostream& out);
// The usage of it, for --help and mistakes.
std::string_view verdict_help();

// The answer of /api/v1/verdict (its `data`) as lines, each at most `width` characters; 0: as long as they are.
std::vector<std::string> verdict_lines(const asking::json& data, bool with_all, std::size_t width = 0);

}  // namespace vitald
