// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "core/text/scan.h"
#include "tests/sensors/fake_service.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

constexpr const char* kManager = "/org/freedesktop/systemd1 ";

std::vector<std::string> unit(const std::string& name, const std::string& active, const std::string& path,
                              const std::string& load = "loaded") {
  return {name, "what it is", load, active, "sub", "", "/u/" + path, "0", "", "/"};
}

FakeAnswers answers() {
  using u32 = std::uint32_t;
  using u64 = std::uint64_t;
  FakeAnswers a;
  a.methods = {{"ListUnits",
                {"ssssssouso",
                 {unit("a.service", "active", "a"), unit("b.service", "failed", "b"), unit("c.timer", "active", "c"),
                  unit("d.socket", "reloading", "d"), unit("e.mount", "active", "e"),
                  unit("f.service", "inactive", "f", "not-found"), unit("g.target", "active", "g")}}}};
  a.properties = {
      {std::string(kManager) + "Version", "252.39-1~deb12u2"},
      {std::string(kManager) + "Virtualization", ""},
      {std::string(kManager) + "SystemState", "running"},
      {"/u/a Type", "notify"},
      {"/u/a NRestarts", u32{3}},
      {"/u/a TasksCurrent", u64{7}},
      {"/u/a TasksMax", UINT64_MAX},
      {"/u/a ActiveEnterTimestamp", u64{1'700'000'000'500'000}},
      {"/u/c LastTriggerUSec", u64{1'600'000'000'250'000}},
      {"/u/c ActiveEnterTimestamp", u64{1'700'000'001'000'000}},
      {"/u/d NAccepted", u32{5}},
      {"/u/d NConnections", u32{2}},
      {"/u/d NRefused", u32{1}},
      {"/u/e Type", "ext4"},
  };
  return a;
}

std::string states(const std::string& name, const std::string& type, std::string_view active) {
  std::string out;
  for (const std::string state : {"active", "activating", "deactivating", "inactive", "failed"})
    out += "node_systemd_unit_state{name=\"" + name + "\",state=\"" + state + "\",type=\"" + type + "\"} " +
           (state == active ? "1\n" : "0\n");
  return out;
}

const std::string kHead =
    "node_systemd_version{version=\"252.39-1~deb12u2\"} 252.39\n"
    "node_systemd_virtualization_info{virtualization_type=\"none\"} 1\n"
    "node_systemd_units{state=\"activating\"} 0\n"
    "node_systemd_units{state=\"active\"} 4\n"
    "node_systemd_units{state=\"deactivating\"} 0\n"
    "node_systemd_units{state=\"failed\"} 1\n"
    "node_systemd_units{state=\"inactive\"} 1\n"
    "node_systemd_units{state=\"reloading\"} 1\n";
const std::string kTimer = "node_systemd_timer_last_trigger_seconds{name=\"c.timer\"} 1600000000.25\n";
const std::string kSocket =
    "node_systemd_socket_accepted_connections_total{name=\"d.socket\"} 5\n"
    "node_systemd_socket_current_connections{name=\"d.socket\"} 2\n"
    "node_systemd_socket_refused_connections_total{name=\"d.socket\"} 1\n";

TEST(Systemd, Cases) {
  struct Case {
    const char* name;
    FlagValues flags;
    std::string text;
  };
  const Case cases[] = {
      // b has no Type: it went while we asked.
      {"as it is",
       {},
       kHead + states("a.service", "notify", "active") + states("b.service", "", "failed") +
           states("c.timer", "", "active") + kTimer + states("d.socket", "", "reloading") + kSocket +
           states("g.target", "", "active") + "node_systemd_system_running 1\n"},
      {"mounts alone",
       {{"collector.systemd.unit-include", ".*mount"}, {"collector.systemd.unit-exclude", "x"}},
       kHead + states("e.mount", "ext4", "active") + "node_systemd_system_running 1\n"},
      {"everything about services; a pattern is for the whole name",
       {{"collector.systemd.unit-include", "a.serv|[ab]\\.service"},
        {"collector.systemd.enable-task-metrics", "true"},
        {"collector.systemd.enable-restarts-metrics", "true"},
        {"collector.systemd.enable-start-time-metrics", "true"}},
       kHead + states("a.service", "notify", "active") +
           "node_systemd_unit_start_time_seconds{name=\"a.service\"} 1700000000.5\n"
           "node_systemd_service_restart_total{name=\"a.service\"} 3\n"
           "node_systemd_unit_tasks_current{name=\"a.service\"} 7\n" +
           states("b.service", "", "failed") +
           "node_systemd_unit_start_time_seconds{name=\"b.service\"} 0\n"
           "node_systemd_system_running 1\n"},
  };
  const FakeService bus("org.freedesktop.systemd1", answers());
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    CollectorFixture fixture("systemd", {}, c.flags);
    for (const auto* run : {"first", "second"}) {
      SCOPED_TRACE(run);
      const auto got = fixture.run();
      EXPECT_EQ(got.text, c.text);
      EXPECT_EQ(got.error, "");
    }
  }
}

TEST(Systemd, WhatCameBeforeItDiedStays) {
  auto dying = answers();
  dying.dies_at = "/u/c LastTriggerUSec";
  const FakeService bus("org.freedesktop.systemd1", dying);
  CollectorFixture fixture("systemd");
  const auto got = fixture.run();
  // Questions are asked at once: of one more an answer may have been under way when it died.
  std::string_view rest = got.text;
  EXPECT_TRUE(take_prefix(rest, kHead)) << got.text;
  int came = 0;
  for (const auto& unit :
       {states("a.service", "notify", "active"), states("b.service", "", "failed"), states("c.timer", "", "active"),
        states("d.socket", "", "reloading"), states("g.target", "", "active")})
    came += take_prefix(rest, unit);
  EXPECT_GE(came, 4) << got.text;
  EXPECT_EQ(rest, "");
  EXPECT_TRUE(got.error.starts_with("timeout: org.freedesktop.systemd1: LastTriggerUSec: ")) << got.error;
}

TEST(Systemd, NoBus) {
  setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus", 1);
  EXPECT_EQ(run_collector("systemd", {}).error, "gone: the system bus: No such file or directory (ENOENT)");
  unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
}

}  // namespace
}  // namespace vitald
