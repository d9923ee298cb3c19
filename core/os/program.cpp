// SPDX-License-Identifier: Apache-2.0
#include "core/os/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>
#include <vector>

#include "core/os/fd.h"
#include "core/os/privileges.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

namespace fs = std::filesystem;

enum Bit : mode_t { kMayRead = 4, kMayRun = 1 };  // to run a folder is to search it

// By the mode alone. Where there is an access list, nobody is refused here.
bool allows(const std::string& path, const struct stat& st, Bit bit, const ProgramUser& as) {
  auto digit = st.st_mode & 7;
  if (st.st_uid == as.id.uid) {
    digit = st.st_mode >> 6 & 7;
  } else {
    std::vector<gid_t> groups{as.id.gid};
    if (as.id.uid == geteuid() && as.id.gid == getegid()) {  // it keeps ours
      const int n = getgroups(0, nullptr);
      groups.resize(1 + static_cast<std::size_t>(std::max(n, 0)));
      if (n > 0 && getgroups(n, groups.data() + 1) < 0) groups.resize(1);
    }
    if (std::ranges::find(groups, st.st_gid) != groups.end()) digit = st.st_mode >> 3 & 7;
  }
  return (digit & bit) != 0 || getxattr(path.c_str(), "system.posix_acl_access", nullptr, 0) > 0;
}

// The first folder on the way that the user may not search; empty: there is none.
std::string closed_folder(const std::string& path, const ProgramUser& as) {
  for (auto folder = fs::path(path).parent_path(); !folder.empty(); folder = folder.parent_path()) {
    struct stat st {};
    if (stat(folder.c_str(), &st) == 0 && !allows(folder, st, kMayRun, as))
      return fmt::format("{} (mode {:04o}, of uid {})", folder.native(), st.st_mode & 07777, st.st_uid);
    if (folder == folder.root_path()) break;
  }
  return {};
}

// Why the user may not run (or read) what is at this path; empty: it may.
std::string refusal(const std::string& path, Bit bit, const ProgramUser& as) {
  std::error_code none;
  const auto real = fs::canonical(path, none).string();
  for (const auto& way : {path, real})
    if (const auto closed = closed_folder(way, as); !closed.empty())
      return fmt::format("{} is closed to '{}'", closed, as.name);
  struct stat st {};
  if (stat(path.c_str(), &st) == 0 && !allows(path, st, bit, as))
    return fmt::format("'{}' may not {} it (mode {:04o}, of uid {})", as.name, bit == kMayRun ? "run" : "read",
                       st.st_mode & 07777, st.st_uid);
  struct statvfs mount {};
  if (statvfs(path.c_str(), &mount) == 0 && (mount.f_flag & ST_NOEXEC) != 0) return "its file system is mounted noexec";
  return {};
}

// Why this cannot be run; empty: it can.
std::string cannot_run(const std::string& path, const std::optional<ProgramUser>& as) {
  if (as && access(path.c_str(), F_OK) == 0) return refusal(path, kMayRun, *as);
  return access(path.c_str(), X_OK) == 0 ? std::string() : from_errno(path, errno).text;
}

// Whether the kernel was taught to run a file that begins so or is called so
// (Documentation/admin-guide/binfmt-misc.rst).
bool is_taught(const std::string& entry, std::string_view begin, const std::string& path) {
  std::ifstream file(entry);
  std::string line, magic, mask;
  std::size_t offset = 0;
  bool enabled = false;
  while (std::getline(file, line)) {
    std::string_view rest = line;
    const auto word = take_word(rest);
    const auto value = take_word(rest);
    if (word == "enabled") enabled = true;
    if (word == "extension") return enabled && value.size() > 1 && path.ends_with(value);
    if (word == "offset") offset = parse_u64(value).value_or(0);
    if (word == "magic") magic = value;
    if (word == "mask") mask = value;
  }
  if (!enabled || magic.empty() || offset > begin.size() || magic.size() / 2 > begin.size() - offset) return false;
  const auto byte = [](std::string_view hex, std::size_t i) { return parse_int<std::uint8_t>(hex.substr(i, 2), 16); };
  for (std::size_t i = 0; i + 1 < magic.size(); i += 2) {
    const auto bits = i < mask.size() ? byte(mask, i).value_or(0xff) : std::uint8_t{0xff};
    if (((static_cast<std::uint8_t>(begin[offset + i / 2]) ^ byte(magic, i).value_or(0)) & bits) != 0) return false;
  }
  return true;
}

bool kernel_was_taught(std::string_view begin, const std::string& path) {
  std::error_code none;
  return std::ranges::any_of(fs::directory_iterator("/proc/sys/fs/binfmt_misc", none), [&](const auto& entry) {
    return entry.path().filename() != "register" && is_taught(entry.path(), begin, path);
  });
}

std::string visible(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '\r' ? std::string("\\r") : std::string(1, c);
  return out;
}

std::string_view without_blanks_behind(std::string_view text) {
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// What `env` looks for; empty where it is not known.
std::string_view asked_of_env(std::string_view interpreter, std::string_view argument) {
  if (interpreter.substr(interpreter.rfind('/') + 1) != "env" || argument.starts_with('-') ||
      argument.find_first_of("=/") != argument.npos)
    return {};
  return argument;
}

bool is_found(std::string_view program, const std::optional<ProgramUser>& as) {
  for (auto rest = kProgramPath; !rest.empty();) {
    const auto folder = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(folder.size() + 1, rest.size()));
    const auto path = fmt::format("{}/{}", folder, program);
    if (access(path.c_str(), F_OK) == 0 && cannot_run(path, as).empty()) return true;
  }
  return false;
}

// What the kernel makes of the file's first bytes (fs/binfmt_script.c: the interpreter ends at a blank or the end of
// the line and at nothing else, what is behind it is one argument).
std::string content_problem(const std::string& path, const std::optional<ProgramUser>& as) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char bytes[256];
  const auto n = file ? ::read(file.get(), bytes, sizeof bytes) : -1;
  if (n < 0) return {};  // to run it nobody needs to read it
  std::string_view line(bytes, static_cast<std::size_t>(n));
  if (line.starts_with("\177ELF")) return {};
  if (!take_prefix(line, "#!")) {
    if (kernel_was_taught(line, path)) return {};
    return n == 0 ? fmt::format("{} is empty, expected a program", path)
                  : fmt::format(
                        "{} is no program of this system and no script: its first line does not begin with #!, "
                        "e.g. #!/bin/sh",
                        path);
  }
  line = take_until(line, '\n');
  while (!line.empty() && is_blank(line.front())) line.remove_prefix(1);
  const auto runs = line.substr(0, line.find_first_of(std::string_view(" \t\0", 3)));
  auto argument = without_blanks_behind(line.substr(runs.size()));
  while (!argument.empty() && is_blank(argument.front())) argument.remove_prefix(1);
  const std::string_view windows =
      line.ends_with('\r') ? "; its lines end with CR LF, as on Windows: remove the CR" : "";
  if (runs.empty()) return fmt::format("{} names no interpreter behind its #!, e.g. #!/bin/sh", path);
  if (const auto why = cannot_run(std::string(runs), as); !why.empty())
    return fmt::format("{} is a script for {}, which cannot be run: {}{}", path, visible(runs), visible(why), windows);
  if (as)
    if (const auto why = refusal(path, kMayRead, *as); !why.empty())
      return fmt::format("{} is a script, which {} has to read: {}", path, visible(runs), why);
  if (const auto asked = asked_of_env(runs, argument); !asked.empty() && !is_found(asked, as))
    return fmt::format("{} is a script for {}, which finds no '{}' in {}{}", path, visible(runs), visible(asked),
                       kProgramPath,
                       asked.find(' ') != asked.npos ? ": all behind env is one word, unless it is env -S" : windows);
  return {};
}

}  // namespace

Result<ProgramUser> program_user(const std::string& name) {
  const bool change = has_capability(CAP_SETUID) && has_capability(CAP_SETGID);
  if (name.empty() && !(geteuid() == 0 && has_capability(CAP_SETUID)))
    return ProgramUser{fmt::format("uid {}", geteuid()), {geteuid(), getegid()}};
  const std::string who = name.empty() ? "nobody" : name;
  const auto found = find_user(who);
  if (!found) return fail(found.error().kind, found.error().text + ", expected one of this machine");
  if (found->uid != geteuid() && !change)
    return fail(Errc::denied, fmt::format("cannot run as '{}': vitald itself may not change the user; leave `user` "
                                          "out, or give the unit User=root",
                                          who));
  return ProgramUser{who, *found};
}

std::string program_problem(const std::string& path, const std::optional<ProgramUser>& as) {
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) return from_errno(path, errno).text + ", expected a program";
  if (!S_ISREG(st.st_mode)) return fmt::format("{} is no file, expected a program", path);
  if ((st.st_mode & 0111) == 0 || (!as && access(path.c_str(), X_OK) != 0))
    return fmt::format("{} is not executable (mode {:04o}), expected a program: chmod +x {}", path, st.st_mode & 07777,
                       path);
  if (as)
    if (const auto why = refusal(path, kMayRun, *as); !why.empty())
      return fmt::format("{} cannot be run as '{}': {}", path, as->name, why);
  return content_problem(path, as);
}

}  // namespace vitald
