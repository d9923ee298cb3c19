// SPDX-License-Identifier: Apache-2.0
#include "agent/config/exec.h"

#include "core/yaml/schema.h"

namespace vitald {
namespace {

constexpr Field<ExecProgram> kFields[] = {
    {.key = "name",
     .at = &ExecProgram::name,
     .help = "The program in logs and metrics.",
     .required = "one: it is the program in logs and metrics"},
    {.key = "command",
     .at = &ExecProgram::command,
     .help =
         "The program by its absolute path, and its arguments; no shell. It prints metrics in Prometheus' text format.",
     .required = "a list: program and arguments",
     .expected = "a list: program and arguments (no shell)",
     .absolute = true},
    {.key = "every",
     .at = &ExecProgram::every_ns,
     .help = "How often it is started, whoever scrapes how often.",
     .least = 1'000'000'000,
     .most = 86'400'000'000'000},
    {.key = "timeout",
     .at = &ExecProgram::timeout_ns,
     .help = "One that runs longer is ended, with all that it started.",
     .least = 10'000'000,
     .most = 3'600'000'000'000},
    {.key = "user",
     .at = &ExecProgram::user,
     .help = "Whom it runs as; without one as `nobody` where vitald is root, else as vitald."},
    {.key = "max_series",
     .at = &ExecProgram::max_series,
     .help = "What prints more is refused as a whole.",
     .least = 1,
     .most = 1'000'000},
};

}  // namespace

bool read_exec(YamlReader& reader, const YAML::Node& item, const std::string& path, ExecProgram& into) {
  if (!FieldReader<ExecProgram>(reader, kFields).read(item, path, into)) return false;
  const auto line = parse_exec(exec_line(into));
  if (line && *line == into) return true;
  reader.say(item.Mark(), path, line ? "cannot be written in one line, expected no line ends" : line.error().text);
  return false;
}

std::string exec_markdown() { return fields_markdown<ExecProgram>(kFields); }

}  // namespace vitald
