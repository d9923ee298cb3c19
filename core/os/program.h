// SPDX-License-Identifier: Apache-2.0
// Whether a file can be run as a program, before it is, and by whom.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/os/process.h"
#include "core/result.h"

namespace vitald {

// Where programs that we start find others.
inline constexpr std::string_view kProgramPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct ProgramUser {
  std::string name;  // for words
  ProcessUser id;
};
// As whom a program runs whose settings name this user or none ("", then root becomes nobody where it can). Errors: no
// such user, or we may not change to it.
Result<ProgramUser> program_user(const std::string& name);

// Empty: it can be. Otherwise why not and what to do, in words: it is missing, no file, not executable, no program, or
// a script whose interpreter is or finds none. `as`: by this user, by the modes of files and folders alone, without a
// capability of ours (who has an access list is taken for allowed); none: as we are, with all we may.
std::string program_problem(const std::string& path, const std::optional<ProgramUser>& as = {});

}  // namespace vitald
