// SPDX-License-Identifier: Apache-2.0
// What `vitald top` and `vitald verdict` print of what the server answers: all of it in as many columns as there are.
#include "agent/top_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/verdict_command.h"

namespace vitald {
namespace {

using asking::json;

const json kVerdict = json::parse(R"({"state": "bad", "verdicts": ["cpu_contended"], "bad": [
  {"verdict": "cpu_contended", "object": {"owner": "web.service", "owner_kind": "unit"}, "says": "Its tasks wait",
   "since": "2026-11-30T10:00:00Z", "since_at_least": true,
   "numbers": [{"what": "tasks that wait", "value": 0.934, "op": ">", "threshold": 0.5}, {"what": "unknown", "op": ">", "threshold": 1}],
   "who": [{"labels": {"culprit": "hog.service", "owner": "web.service"}, "value": 0.81}]},
  {"verdict": "filesystem_full", "object": {"device": "/dev/sda1", "fstype": "ext4", "mountpoint": "/dät\u0007a"}, "says": "No space is left",
   "since": "2026-11-30T10:00:00Z", "since_at_least": false,
   "numbers": [{"what": "bytes left", "value": 123456, "op": "<", "threshold": 1e10}]}],
  "checked": [{"rule": "swap", "state": "ok", "object": {}, "numbers": [{"what": "pages", "value": 0, "op": ">", "threshold": 50}]},
   {"rule": "throttled", "state": "unknown", "why": "there is no series x"}, {"rule": "cpu_contended_owner", "state": "bad"}]})");

TopLook look() {
  TopLook out;
  out.url = "http://127.0.0.1:9100";
  out.utilization =
      json::parse(R"({"name": "node-1", "cpu": {"percent": 43.2}, "memory": {"percent": 61}, "disk": {"percent": 250},
    "power": {"watts": 312.4}, "temperature": {"celsius": 64.5}, "schedulable": false, "reasons": ["critical alert X fires"]})");
  out.verdict = kVerdict;
  out.alerts = json::parse(R"({"alerts": [{"state": "pending", "labels": {"alertname": "P"}, "severity": "warning"},
    {"state": "firing", "labels": {"alertname": "Warm"}, "severity": "warning", "activeAt": "2026-11-30T09:00:00Z"},
    {"state": "firing", "labels": {"alertname": "Full"}, "severity": "critical", "activeAt": "2026-11-30T10:00:00Z",
     "acknowledged": true, "annotations": {"summary": "no space"}}]})");
  out.owners = json::parse(R"({"result": [
    {"metric": {"owner_kind": "unit", "owner": "hog.service", "of": "0"}, "value": [1, "1.5"]},
    {"metric": {"owner_kind": "unit", "owner": "web.service", "of": "0"}, "value": [1, "0.25"]},
    {"metric": {"owner_kind": "unit", "owner": "web.service", "of": "3"}, "value": [1, "2500000"]},
    {"metric": {"owner_kind": "unit", "owner": "web.service", "of": "9"}, "value": [1, "7"]},
    {"metric": {"owner_kind": "unit", "owner": "odd", "of": "1"}, "value": [1, "NaN?"]}]})");
  return out;
}

std::string text(const std::vector<std::string>& lines) { return fmt::format("{}\n", fmt::join(lines, "\n")); }

TEST(Verdict, Lines) {
  EXPECT_EQ(text(verdict_lines(kVerdict, true)),
            "cpu_contended web.service: Its tasks wait; since before 2026-11-30T10:00:00Z\n"
            "  tasks that wait 0.934 > 0.5\n"
            "  who: hog.service (0.81)\n"
            "filesystem_full /dev/sda1 /dät\\x07a: No space is left; since 2026-11-30T10:00:00Z\n"
            "  bytes left 123456 < 1e+10\n"
            "ok swap: host pages 0 > 50\n"
            "unknown throttled: there is no series x\n");
  EXPECT_EQ(verdict_lines(kVerdict, false).size(), 5U);
  // Half a character is none.
  EXPECT_EQ(verdict_lines(kVerdict, false, 28)[3], "filesystem_full /dev/sda1 /d");
}

TEST(Top, TheScreen) {
  const auto lines = top_screen(look(), 100, 0, true, 0);
  const auto all = text(lines);
  for (const char* want :
       {"vitald top  node-1  http://127.0.0.1:9100\n", "CPU  [|||||||||||||||", "]  43 %", "MEM  [", "]  61 %",
        "] 250 %", "NET  [", "]   ? ", "power 312 W  temperature 64.5 C  not schedulable: critical alert X fires\n",
        "VERDICT  bad\n", "  cpu_contended web.service: ", "ALERTS   2 firing\n",
        "  critical Full since 2026-11-30T10:00:00Z (acknowledged): no space\n  warning  Warm since "
        "2026-11-30T09:00:00Z\n",
        "CPU*", "unit      hog.service", "1.50", "2.5 MB\n"})
    EXPECT_NE(all.find(want), std::string::npos) << want << '\n' << all;
  EXPECT_EQ(all.find("\x1b["), std::string::npos);
  EXPECT_LT(all.find("hog.service    "), all.find("web.service    ")) << "the one with more CPU first";
  const auto by_bytes = text(top_screen(look(), 100, 0, true, 3));
  EXPECT_LT(by_bytes.find("unit      web.service"), by_bytes.find("unit      hog.service"));
}

TEST(Top, FitsWhateverTheTerminalIs) {
  for (const std::size_t width : {20U, 33U, 60U, 80U, 250U})
    for (const std::size_t height : {1U, 3U, 10U, 100U}) {
      SCOPED_TRACE(fmt::format("{} x {}", width, height));
      const auto lines = top_screen(look(), width, height, true, 0);
      EXPECT_LE(lines.size(), height);
      for (const auto& line : lines) {
        const auto columns =
            std::ranges::count_if(line, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
        EXPECT_LE(static_cast<std::size_t>(columns), width) << line;
      }
    }
  EXPECT_NE(text(top_screen(look(), 80, 24, false, 0)).find("\x1b[7m"), std::string::npos)
      << "colours where there is a terminal";
}

TEST(Top, WhatNobodyKnows) {
  TopLook nothing;
  nothing.url = "x";
  nothing.utilization = json::object();
  const auto all = text(top_screen(nothing, 80, 0, true, 99));
  EXPECT_NE(all.find("VERDICT  not known\n"), std::string::npos) << all;
  EXPECT_NE(all.find("OWNERS   none"), std::string::npos);
  EXPECT_EQ(all.find("ALERTS"), std::string::npos) << "there are no rules";
}

// A host that is slow does not look like one where nothing fires.
TEST(Top, WhatWasNotAnsweredInTime) {
  auto late = look();
  late.unanswered = {.utilization = "", .verdict = "429 too many queries run", .alerts = "", .owners = ""};
  late.utilization = late.verdict = late.alerts = late.owners = {};
  EXPECT_EQ(
      text(top_screen(late, 80, 0, true, 0)),
      "vitald top    http://127.0.0.1:9100\nGAUGES   not answered\nVERDICT  not answered: 429 too many queries run\n"
      "ALERTS   not answered\nOWNERS   not answered\n");
}

// "No alerts" of a server that could not say is no good news.
TEST(Top, OnlyWhoSaysSoHasNone) {
  EXPECT_EQ(why_unanswered({.text = "x: 404 not found", .status = 404, .why = "not found"}), std::nullopt);
  EXPECT_EQ(why_unanswered({.text = "", .status = 503, .why = "this host keeps no history: load rules (rules.file)"}),
            std::nullopt);
  EXPECT_EQ(why_unanswered({.text = "", .status = 503, .why = "the first collection still runs"}),
            "503 the first collection still runs");
  EXPECT_EQ(why_unanswered({.text = "", .status = 429, .why = "too many"}), "429 too many");
  EXPECT_EQ(why_unanswered({.text = "", .status = 400, .why = "bad"}), "400 bad");
  EXPECT_EQ(why_unanswered({.text = "connect: refused"}), "");
}

}  // namespace
}  // namespace vitald
