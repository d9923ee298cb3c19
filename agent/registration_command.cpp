// SPDX-License-Identifier: Apache-2.0
#include "agent/registration_command.h"

#include <fmt/format.h>

#include <ostream>

#include "agent/asking.h"
#include "core/log.h"
#include "core/log_output.h"

namespace vitald {

std::string_view registration_help() {
  return "usage: vitald registration\n"
         "This host as a metric endpoint to register with a scheduler, as JSON: what /api/v1/registration answers.\n"
         "Which vitald is asked: --url=http://HOST:PORT, else the first --web.listen-address; --user, --password-file\n"
         "and --ca-file where it wants them.\n";
}

int run_registration(const Config& config, std::ostream& out) {
  const auto words = asking::words_of(config.command_line.words);
  if (!words.plain.empty()) {
    log::say(fmt::format("vitald: error: registration: unexpected '{}'\n{}", words.plain.front(), registration_help()));
    return 1;
  }
  return asking::run([&] {
    asking::Server server(words, config.options);
    out << server.ask("GET", "/api/v1/registration").at("data").dump(2) << '\n' << std::flush;
    return out ? 0 : 1;
  });
}

}  // namespace vitald
