// SPDX-License-Identifier: Apache-2.0
// Programs that print metrics: how they are written down, run, ended and refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "core/collector.h"
#include "sensors/service/exec_program.h"
#include "sensors/service/exec_runner.h"

namespace vitald {

extern const CollectorInfo collector_exec;

namespace {

using testing::HasSubstr;

TEST(ExecProgram, Lines) {
  struct Case {
    const char* line;
    const char* error;  // empty: it is one
  };
  for (const auto& c : {
           Case{"a: /bin/true", ""},
           Case{"a.b-c every 5s timeout 1s user root series 7: /bin/echo \"x y\" \"a\\\"b\\\\\" z:", ""},
           Case{"", "expected NAME"},
           Case{"/bin/true", "expected NAME"},
           Case{"a/b: /bin/true", "name 'a/b' found"},
           Case{"a every: /bin/true", "every '' found, expected a duration"},
           Case{"a every 5: /bin/true", "every '5' found, expected a duration from 1s to"},
           Case{"a every 1ms: /bin/true", "expected a duration from 1s"},
           Case{"a timeout 2h: /bin/true", "timeout '2h' found"},
           Case{"a series 0: /bin/true", "'series 0' found"},
           Case{"a nice 5: /bin/true", "'nice 5' found, expected every, timeout, user or series"},
           Case{"a: true", "'true' found, expected a program by its absolute path"},
           Case{"a: /bin/echo \"x", "a quote that has no end"},
           Case{"a: /bin/echo --a=\"b c\"", "a: '--a=\"b' found, a quote within a word: quote the whole word"},
           Case{"a: /bin/echo \"b\"c", "a: 'c' found right after a quote's end: quote the whole word"},
           Case{"a: /bin/echo \"b\"\"c\"", "right after a quote's end"},
           Case{"a: /bin/echo \"--a=b c\" \"\"", ""},
       }) {
    SCOPED_TRACE(c.line);
    const auto got = parse_exec(c.line);
    if (*c.error != '\0') {
      ASSERT_FALSE(got);
      EXPECT_THAT(got.error().text, HasSubstr(c.error));
      continue;
    }
    ASSERT_TRUE(got) << got.error().text;
    const auto again = parse_exec(exec_line(*got));
    ASSERT_TRUE(again) << again.error().text;
    EXPECT_EQ(*again, *got);
  }
  const auto all = parse_exec("a.b-c every 5s timeout 1s user root series 7: /bin/echo \"x y\" \"a\\\"b\\\\\" z:");
  EXPECT_THAT(all->command, testing::ElementsAre("/bin/echo", "x y", "a\"b\\", "z:"));
  EXPECT_EQ(all->every_ns, 5'000'000'000);
  EXPECT_EQ(all->user, "root");
  EXPECT_EQ(all->max_series, 7U);
}

TEST(ExecProgram, WhatIsWrongOnThisMachine) {
  EXPECT_THAT(exec_problems(*parse_exec("a: /bin/true")), testing::IsEmpty());
  EXPECT_THAT(exec_problems(*parse_exec("a: /no/such")), testing::ElementsAre(HasSubstr("/no/such")));
  EXPECT_THAT(exec_problems(*parse_exec("a user no-such-user: /etc/passwd")),
              testing::ElementsAre(HasSubstr("not executable"), HasSubstr("no-such-user")));
}

ExecProgram script(std::string name, std::string text) {
  ExecProgram p;
  p.name = std::move(name);
  p.command = {"/bin/sh", "-c", std::move(text)};
  p.timeout_ns = 5'000'000'000;
  return p;
}

TEST(ExecRunner, HowRunsEnd) {
  struct Case {
    const char* name;
    const char* text;
    ExecRunner::Outcome outcome;
    const char* why;
  };
  using enum ExecRunner::Outcome;
  const Case cases[] = {
      {"good", "echo \"# TYPE a counter\"; echo 'a{b=\"c\"} 3'", ok, ""},
      {"silent", "true", ok, ""},
      {"status", "echo a 1; echo first >&2; echo why not >&2; exit 3", failed, "exit status 3: why not"},
      {"signal", "kill -SEGV $$", failed, "signal 11"},
      {"late", "sleep 60 & sleep 60", timeout, "no end within 700 ms, killed"},
      {"deaf", "trap '' TERM; while :; do sleep 60; done", timeout, "no end within 700 ms, killed"},
      {"garbage", "echo 'a{'", refused, "its output: line 1"},
      {"torn", "printf 'a 1\\nb'", refused, "its output: line 2"},
      {"times", "echo 'a 1 1700000000000'", refused, "timestamps"},
      {"many", "for i in 1 2 3 4 5 6; do echo \"a{i=\\\"$i\\\"} 1\"; done", refused, "prints 6 series, at most 5"},
      {"flood", "yes 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 1'",
       refused, "more than 4194304 bytes"},
      {"one series again and again", "yes 'a 1' | head -n 300000", refused, "prints more than 200000 lines"},
      {"leaves one behind", "sleep 60 & echo a 2", ok, ""},
  };
  std::vector<ExecProgram> programs;
  for (const auto& c : cases) {
    auto& p = programs.emplace_back(script(c.name, c.text));
    if (c.outcome == timeout) p.timeout_ns = 700'000'000;
    p.max_series = 5;
  }
  auto& missing = programs.emplace_back(script("missing", ""));
  missing.command = {"/no/such/program"};
  const auto begin = std::chrono::steady_clock::now();
  ExecRunner runner(programs);
  auto states = runner.states(20'000'000'000);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  for (std::size_t i = 0; i < std::size(cases); ++i) {
    SCOPED_TRACE(cases[i].name);
    const auto& s = states[i];
    ASSERT_TRUE(s.ended);
    EXPECT_EQ(s.ok, cases[i].outcome == ok);
    EXPECT_EQ(s.runs[static_cast<std::size_t>(cases[i].outcome)], 1U) << s.why;
    EXPECT_THAT(s.why, HasSubstr(cases[i].why));
    EXPECT_EQ(s.content != nullptr, s.ok);
  }
  EXPECT_EQ(states[0].content->families.at(0).series.at(0).value, 3);
  EXPECT_EQ(states.back().runs[static_cast<std::size_t>(not_started)], 1U);
  EXPECT_THAT(states.back().why, HasSubstr("/no/such/program"));
}

TEST(ExecRunner, RunsAgainAndKeepsTheLastGoodOne) {
  char folder[] = "/tmp/vitald-exec-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string file = std::string(folder) + "/text";
  std::ofstream(file) << "a 1\n";
  auto program = script("a", "cat " + file);
  program.every_ns = 50'000'000;  // less than a setting may say
  if (geteuid() == 0) program.user = "root";
  ExecRunner runner({program});
  const auto until = [&](auto done) {
    for (int i = 0; i < 400; ++i) {
      const auto s = runner.states(0)[0];
      if (done(s)) return s;
      std::this_thread::sleep_for(std::chrono::milliseconds(25));
    }
    ADD_FAILURE() << "not within ten seconds";
    return runner.states(0)[0];
  };
  until([](const auto& s) { return s.ok && s.runs[0] >= 2; });
  std::ofstream(file) << "a {\n";
  const auto failed = until([](const auto& s) { return s.ended && !s.ok; });
  ASSERT_TRUE(failed.content);
  EXPECT_EQ(failed.content->families.at(0).series.at(0).value, 1);
  std::ofstream(file) << "a 2\n";
  until([](const auto& s) { return s.ok && s.content->families.at(0).series.at(0).value == 2; });
  unlink(file.c_str());
  rmdir(folder);
}

TEST(ExecRunner, EndsWhatRuns) {
  const auto begin = std::chrono::steady_clock::now();
  {
    ExecRunner runner({script("a", "sleep 100"), script("b", "trap '' TERM; sleep 100")});
    static_cast<void>(runner.states(50'000'000));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST(Exec, SeriesAndItsOwnRows) {
  Host host;
  Options options;
  options.declare(collector_exec.flags);
  EXPECT_EQ(collector_exec.make(host, options).error().kind, Errc::absent);
  options.append("collector.exec.program", "good: /bin/echo \"app_jobs{queue=\\\"a\\\"} 4\"");
  options.append("collector.exec.program", "bad: /bin/false");
  auto made = collector_exec.make(host, options);
  ASSERT_TRUE(made) << made.error().text;
  BatchWriter writer("exec");
  std::string text;
  for (int i = 0; i < 200; ++i) {  // they are quick, but this machine may not be
    writer.begin(1);
    ASSERT_TRUE((*made)->collect(writer));
    const auto batch = writer.finish({}, 0, 0);
    text.clear();
    for (const auto& s : batch->layout->samples())
      text += fmt::format("{}{}\n", Layout::prefix(s), batch->values[s.value]);
    if (text.find("vitald_exec_success{program=\"good\"} 1") != text.npos &&
        text.find("vitald_exec_success{program=\"bad\"} 0") != text.npos) {
      EXPECT_EQ(batch->health.problems.size(), 1U);
      EXPECT_THAT(batch->health.problems.at(0).text, HasSubstr("bad: exit status 1"));
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
  }
  EXPECT_THAT(text, HasSubstr("app_jobs{queue=\"a\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("vitald_exec_runs_total{program=\"bad\",result=\"failed\"} 1\n"));
  EXPECT_THAT((*made)->status(), testing::StartsWith("1 of 2 programs good; bad: exit status 1"));
  options.append("collector.exec.program", "good: /bin/true");
  EXPECT_THAT(collector_exec.make(host, options).error().text, HasSubstr("a second 'good'"));
  options.append("collector.exec.program", "no command");
  EXPECT_EQ(collector_exec.make(host, options).error().kind, Errc::malformed);
}

// What a program prints says nothing of how other programs went.
TEST(Exec, ItsOwnFamiliesAreNobodyElses) {
  Host host;
  Options options;
  options.declare(collector_exec.flags);
  options.append("collector.exec.program", "good: /bin/echo \"vitald_exec_success{program=\\\"bad\\\"} 1\"");
  options.append("collector.exec.program", "bad: /bin/false");
  auto made = collector_exec.make(host, options);
  ASSERT_TRUE(made) << made.error().text;
  BatchWriter writer("exec");
  std::string text, problems;
  for (int i = 0; i < 200; ++i) {  // they are quick, but this machine may not be
    writer.begin(1);
    ASSERT_TRUE((*made)->collect(writer));
    const auto batch = writer.finish({}, 0, 0);
    text.clear(), problems.clear();
    for (const auto& s : batch->layout->samples())
      text += fmt::format("{}{}\n", Layout::prefix(s), batch->values[s.value]);
    for (const auto& p : batch->health.problems) problems += p.text + "\n";
    if (text.find("vitald_exec_success{program=\"good\"} ") != text.npos &&
        text.find("vitald_exec_success{program=\"bad\"} ") != text.npos)
      break;
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
  }
  EXPECT_THAT(text, HasSubstr("vitald_exec_success{program=\"bad\"} 0\n"));
  EXPECT_THAT(text, testing::Not(HasSubstr("vitald_exec_success{program=\"bad\"} 1\n")));
  EXPECT_THAT(problems, HasSubstr("good: vitald_exec_success: a family of the collector's own; left out\n"));
}

}  // namespace
}  // namespace vitald
