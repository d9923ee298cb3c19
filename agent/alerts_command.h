// SPDX-License-Identifier: Apache-2.0
// `vitald alerts ...`: what burns, who has it in hand, and silences, on the command line. It asks the vitald that runs.
#pragma once

#include <iosfwd>
#include <span>
#include <string>
#include <string_view>

#include "agent/config/config.h"

namespace vitald {

// The exit status. `config.command_line.words` is what stands behind the verb.
int run_alerts(const Config& config, std::ostream& out);

// The usage of it, for --help and mistakes.
std::string_view alerts_help();

}  // namespace vitald
