// SPDX-License-Identifier: Apache-2.0
// `vitald rules check FILE...` and `vitald rules test FILE...`: what promtool does, for rules of this host.
#pragma once

#include <ostream>
#include <string_view>

#include "agent/config/config.h"

namespace vitald {

std::string_view rules_help();

// 0: all is well; 1: something is not, or what was asked for cannot be done. Progress and success go to `out`, what is
// wrong to `err`, as promtool has it.
int run_rules(const Config& config, std::ostream& out, std::ostream& err);

}  // namespace vitald
