// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>

#include "core/text/scan.h"
#include "tests/sensors/fake_service.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

FakeAnswers answers() {
  const std::string base = "/org/freedesktop/login1/session/";
  FakeAnswers a;
  a.methods = {{"ListSeats", {"so", {{"seat0", "/org/freedesktop/login1/seat/seat0"}}}},
               {"ListSessions",
                {"susso",
                 {{"1", "1000", "me", "seat0", base + "_31"},
                  {"2", "1000", "me", "", base + "_32"},
                  {"3", "0", "root", "", base + "_33"},
                  {"4", "0", "root", "", base + "_34"}}}}};
  a.properties = {{base + "_31 Remote", false}, {base + "_31 Type", "wayland"}, {base + "_31 Class", "user"},
                  {base + "_32 Remote", true},  {base + "_32 Type", "tty"},     {base + "_32 Class", "user"},
                  {base + "_33 Remote", true},  {base + "_33 Type", "tty"},     {base + "_33 Class", "manager"},
                  {base + "_34 Type", "tty"}};  // it ends while we ask
  return a;
}

std::string not_zero(std::string_view text) {
  std::string out;
  while (!text.empty())
    if (const auto line = take_line(text); !line.ends_with(" 0")) out.append(line).append("\n");
  return out;
}

TEST(Logind, Sessions) {
  const FakeService bus("org.freedesktop.login1", answers());
  CollectorFixture fixture("logind");
  for (int run = 0; run < 2; ++run) {
    const auto got = fixture.run();
    EXPECT_EQ(got.error, "");
    // 2 remote, 7 types, 5 classes, 1 seat and none
    EXPECT_EQ(std::count(got.text.begin(), got.text.end(), '\n'), 2 * 7 * 5 * 2);
    EXPECT_EQ(not_zero(got.text),
              "node_logind_sessions{class=\"other\",remote=\"true\",seat=\"\",type=\"tty\"} 1\n"
              "node_logind_sessions{class=\"user\",remote=\"true\",seat=\"\",type=\"tty\"} 1\n"
              "node_logind_sessions{class=\"user\",remote=\"false\",seat=\"seat0\",type=\"wayland\"} 1\n");
  }
}

TEST(Logind, ComesBack) {
  CollectorFixture fixture("logind");
  {
    auto dying = answers();
    dying.dies_at = "/org/freedesktop/login1/session/_32 Type";
    const FakeService bus("org.freedesktop.login1", dying);
    const auto got = fixture.run();
    // Or one of the questions beside it: all three are asked at once, and which of those that the service takes along
    // is missed first is chance.
    EXPECT_TRUE(got.error.starts_with("timeout: org.freedesktop.login1: Type: ") ||
                got.error.starts_with("timeout: org.freedesktop.login1: Remote: ") ||
                got.error.starts_with("timeout: org.freedesktop.login1: Class: "))
        << got.error;
  }
  const FakeService bus("org.freedesktop.login1", answers());
  fixture.run();  // meets the end of the old connection
  EXPECT_EQ(fixture.run().error, "");
}

}  // namespace
}  // namespace vitald
