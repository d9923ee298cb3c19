// SPDX-License-Identifier: Apache-2.0
// vitald.yaml, the file of --web.config.file, and the command line with one argument a line.
#include "agent/config/config.h"
#include "agent/http/web_config.h"
#include "core/text/scan.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace vitald;
  auto text = Input(data, size).rest();
  std::vector<std::string> problems, warnings, arguments;
  (void)parse_config(std::string(text), "fuzz.yaml", problems);
  (void)parse_web_config(std::string(text), "fuzz.yaml", problems);
  while (!text.empty()) arguments.emplace_back(take_line(text));
  // What prints and ends the process is no input of a parser.
  for (const auto& a : arguments)
    if (a.find("help") != a.npos || a.find("version") != a.npos || a.find("dump") != a.npos || a.find("-h") != a.npos)
      return 0;
  (void)parse_command_line(arguments, problems, warnings);
  return 0;
}
