// SPDX-License-Identifier: Apache-2.0
// Command line and vitald.yaml -> Config. The path of --config.check is the path of the start: what checks
// also starts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/options.h"
#include "exporters/deliver/receiver.h"
#include "exporters/push/push.h"
#include "rules/silences.h"

namespace vitald {

// One value for one flag, and where it was written.
struct Setting {
  const FlagSpec* flag = nullptr;
  std::string value;
  std::string place = {};  // in a file: "vitald.yaml:4:13"; empty: on the command line
};

struct CommandLine {
  std::string verb;                   // "", "alerts", "doctor", "rules" or "worker"
  std::vector<std::string> operands;  // of the verb rules: check or test, and files
  std::string worker;
  std::vector<std::string> words;  // behind `alerts`: what is no flag of the agent; --NAME=VALUE are one word
  std::vector<Setting> settings;
  std::vector<std::string> arguments;  // without the program's name and the verb
};

struct ConfigFile {
  std::vector<Setting> settings;
  std::vector<std::shared_ptr<ReceiverSettings>> receivers;
  std::vector<InhibitRule> inhibit_rules;
  std::vector<std::string> inhibit_places;
  std::vector<std::string> receiver_places;  // of each of them, as above
  std::vector<std::shared_ptr<PushSettings>> pushes;
  std::vector<std::string> push_places;
};

struct Config {
  CommandLine command_line;
  Options options;
  ConfigFile file;  // what the command line did not override
};

// Each appends its problems, one line each; the result is meaningful only when there were none.
CommandLine parse_command_line(std::span<const std::string> arguments, std::vector<std::string>& problems,
                               std::vector<std::string>& warnings);
ConfigFile read_config_file(const std::string& path, std::vector<std::string>& problems);
// The text of such a file; `name` stands in front of every problem.
ConfigFile parse_config(const std::string& text, const std::string& name, std::vector<std::string>& problems);

Config load_config(std::span<const std::string> arguments, std::vector<std::string>& problems,
                   std::vector<std::string>& warnings);

}  // namespace vitald
