// SPDX-License-Identifier: Apache-2.0
#include "core/os/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "core/os/fd.h"
#include "core/result.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

// What the kernel would run for a script: the word behind #!. Empty: it is no script.
std::string interpreter_of(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char bytes[256];
  const auto n = file ? ::read(file.get(), bytes, sizeof bytes) : -1;
  std::string_view line(bytes, n > 0 ? static_cast<std::size_t>(n) : 0);
  line = take_until(line, '\n');
  if (!take_prefix(line, "#!")) return {};
  return std::string(take_word(line));
}

}  // namespace

std::string program_problem(const std::string& path) {
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) return from_errno(path, errno).text + ", expected a program";
  if (!S_ISREG(st.st_mode)) return fmt::format("{} is no file, expected a program", path);
  if (access(path.c_str(), X_OK) != 0)
    return fmt::format("{} is not executable (mode {:04o}), expected a program: chmod +x {}", path, st.st_mode & 07777,
                       path);
  if (const auto runs = interpreter_of(path); !runs.empty() && access(runs.c_str(), X_OK) != 0)
    return fmt::format("{} is a script for {}, which cannot be run: {}", path, runs, from_errno(runs, errno).text);
  return {};
}

}  // namespace vitald
