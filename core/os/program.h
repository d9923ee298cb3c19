// SPDX-License-Identifier: Apache-2.0
// Whether a file can be run as a program, before it is.
#pragma once

#include <string>

namespace vitald {

// Empty: it can be. Otherwise why not and what to do, in words: it is missing, no file, not executable, or a script
// whose interpreter is.
std::string program_problem(const std::string& path);

}  // namespace vitald
