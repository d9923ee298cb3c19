// SPDX-License-Identifier: Apache-2.0
// The list `exec` of vitald.yaml: programs whose output is collected. Each becomes the flag that says the same in a
// line.
#pragma once

#include <string>

#include "core/yaml/reader.h"
#include "sensors/service/exec_program.h"

namespace vitald {

// False: there was a problem, and it was said.
bool read_exec(YamlReader& reader, const YAML::Node& item, const std::string& path, ExecProgram& into);
std::string exec_markdown();

}  // namespace vitald
