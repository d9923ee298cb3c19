// SPDX-License-Identifier: Apache-2.0
// What cannot be run is known before it is, and what can be is not refused: each row is also run.
#include "core/os/program.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace vitald {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct Folder {
  Folder() {
    std::string name = fs::temp_directory_path() / "program_test.XXXXXX";
    path = mkdtemp(name.data());
    chmod(path.c_str(), 0755);
  }
  ~Folder() { fs::remove_all(path); }
  [[nodiscard]] std::string file(const std::string& name, const std::string& text, mode_t mode) const {
    fs::create_directories((path / name).parent_path());
    std::ofstream(path / name) << text;
    chmod((path / name).c_str(), mode);
    return path / name;
  }
  fs::path path;
};

// Whether it ran and ended well.
bool runs(const std::string& path, const ProgramUser& as) {
  ProcessSettings settings;
  settings.path = path;
  settings.arguments = {path};
  settings.environment = {fmt::format("PATH={}", kProgramPath)};
  settings.directory = "/";
  settings.privileges = ProcessSettings::Privileges::nothing;
  settings.user = as.id;
  auto process = Process::start(settings);
  if (!process) return false;
  const auto end = process->wait(10'000'000'000);
  return end && end->ok();
}

TEST(Program, WhatTheKernelRuns) {
  const Folder folder;
  const std::string good = "#!/bin/sh\nexit 0\n";
  const ProgramUser other{"other", {12345, 12345}}, ours{"us", {geteuid(), getegid()}};
  struct Case {
    const char* name;
    std::string text;
    mode_t mode;
    bool by_other;
    const char* want;  // words of the problem; "": none
  };
  const Case cases[] = {
      {"a script", good, 0755, true, ""},
      {"blanks before the interpreter", "#! \t/bin/sh\nexit 0\n", 0755, true, ""},
      {"with an argument", "#!/bin/sh -e\nexit 0\n", 0755, true, ""},
      {"of env", "#!/usr/bin/env sh\nexit 0\n", 0755, true, ""},
      {"of env -S", "#!/usr/bin/env -S sh -e\nexit 0\n", 0755, true, ""},
      {"blanks behind", "#!/usr/bin/env sh  \nexit 0\n", 0755, true, ""},
      {"no line's end", "#!/bin/true", 0755, true, ""},
      {"by others only", good, 0005, true, ""},
      {"nobody's", good, 0644, true, "is not executable (mode 0644)"},
      {"the owner's", good, 0700, true, "cannot be run as 'other': 'other' may not run it (mode 0700"},
      {"to run, not to read", good, 0711, true, "is a script, which /bin/sh has to read: 'other' may not read it"},
      {"the group's alone", good, 0070, false, "'us' may not run it (mode 0070"},
      {"lines of Windows", "#!/bin/sh\r\nexit 0\r\n", 0755, true, "is a script for /bin/sh\\r, which cannot be run"},
      {"env with lines of Windows", "#!/usr/bin/env sh\r\nexit 0\r\n", 0755, true, "finds no 'sh\\r' in"},
      {"no interpreter", "#!/no/such\n", 0755, true,
       "is a script for /no/such, which cannot be run: /no/such: No such"},
      {"env without a program", "#!/usr/bin/env no-such-program\n", 0755, true, "finds no 'no-such-program' in"},
      {"env with two words", "#!/usr/bin/env sh -e\n", 0755, true, "all behind env is one word"},
      {"nothing behind", "#!\n", 0755, true, "names no interpreter"},
      {"nothing", "", 0755, true, "is empty"},
      {"text", "echo hello\n", 0755, true, "is no program of this system and no script"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    if (geteuid() == 0 && !c.by_other) continue;  // root's group may be everybody's here
    const auto path = folder.file("it", c.text, c.mode);
    const auto& as = c.by_other ? other : ours;
    const auto got = program_problem(path, as);
    EXPECT_THAT(got, HasSubstr(c.want));
    EXPECT_EQ(got.empty(), *c.want == '\0') << got;
    const bool can_try = geteuid() == 0 || !c.by_other;
    EXPECT_TRUE(!can_try || runs(path, as) == got.empty());
    fs::remove(path);
  }
  EXPECT_EQ(program_problem("/bin/sh", other), "");
}

TEST(Program, FoldersOnTheWay) {
  const Folder folder;
  const ProgramUser other{"other", {12345, 12345}};
  const auto path = folder.file("closed/in/it", "#!/bin/sh\n", 0755);
  fs::create_symlink(path, folder.path / "link");
  EXPECT_EQ(program_problem(path, other), "");
  EXPECT_EQ(program_problem(folder.path / "link", other), "");
  chmod((folder.path / "closed").c_str(), 0700);
  for (const auto& way : {path, (folder.path / "link").string()}) {
    EXPECT_THAT(program_problem(way, other), HasSubstr("/closed (mode 0700, of uid"));
    EXPECT_FALSE(geteuid() == 0 && runs(way, other));
    EXPECT_EQ(program_problem(way, ProgramUser{"us", {geteuid(), getegid()}}), "");
  }
}

TEST(Program, WhoRunsIt) {
  EXPECT_FALSE(program_user("no-such-user"));
  const auto as = program_user("");
  ASSERT_TRUE(as) << as.error().text;
  EXPECT_TRUE(geteuid() == 0 || as->id.uid == geteuid());
}

}  // namespace
}  // namespace vitald
