// SPDX-License-Identifier: Apache-2.0
// One program whose output is collected: how it is configured, in one line, and what may be wrong with that.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace vitald {

struct ExecProgram {
  std::string name;
  std::vector<std::string> command;        // argv; argv[0] is an absolute path
  std::int64_t every_ns = 60'000'000'000;  // between two starts
  std::int64_t timeout_ns = 10'000'000'000;
  std::string user;  // empty: nobody where vitald is root, else as vitald
  std::size_t max_series = 10'000;
  bool operator==(const ExecProgram&) const = default;
};

// `smart every 1m timeout 10s user root series 500: /usr/local/bin/smart --json "two words"`; all but the name and the
// command may be left out. Errors: malformed, with what is wrong where.
Result<ExecProgram> parse_exec(std::string_view line);
std::string exec_line(const ExecProgram& program);

// What is wrong with it on this machine, a sentence each.
std::vector<std::string> exec_problems(const ExecProgram& program);

}  // namespace vitald
