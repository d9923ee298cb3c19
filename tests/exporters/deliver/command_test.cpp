// SPDX-License-Identifier: Apache-2.0
// Real scripts, run by the hook as it runs them in the field.
#include "exporters/deliver/command.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "core/instruments.h"
#include "core/os/host_name.h"
#include "core/os/process.h"
#include "exporters/deliver/alert_message.h"
#include "exporters/deliver/receiver_book.h"

namespace vitald {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

AlertTransition transition(std::string name = "HostHot", bool firing = true) {
  AlertTransition t;
  t.firing = firing;
  t.alert.labels = {{"alertname", std::move(name)}, {"severity", "critical"}, {"chip", "a\"b\\c\nd\xff"}};
  t.alert.annotations = {{"summary", "80 °C; $(touch /tmp/x) `id`"}};
  t.alert.state = firing ? AlertState::firing : AlertState::inactive;
  t.alert.active_at_ms = 1'700'000'000'000;
  t.alert.fired_at_ms = 1'700'000'060'250;
  t.alert.resolved_at_ms = firing ? 0 : 1'700'000'120'000;
  t.alert.value = 80.5;
  t.alert.fingerprint = 0xabc;
  t.number = 7;
  return t;
}

double metric(std::string_view family, const std::string& hook, const std::string& result = "") {
  double found = 0;
  instruments().each([&](const MetricDesc& desc, const Instruments::Instrument& instrument) {
    const auto has = [&](const char* name, const std::string& value) {
      return std::ranges::count(instrument.labels, std::pair<std::string, std::string>(name, value)) > 0;
    };
    if (desc.name != family || !has("hook", hook) || (!result.empty() && !has("result", result))) return;
    if (const auto* c = std::get_if<prometheus::Counter>(&instrument.value)) found = c->Value();
    else if (const auto* g = std::get_if<prometheus::Gauge>(&instrument.value)) found = g->Value();
    else
      found = static_cast<double>(std::get<prometheus::Histogram>(instrument.value).Collect().histogram.sample_count);
  });
  return found;
}

// A folder that the unprivileged user may write to, with one script in it.
class HookTest : public testing::Test {
 protected:
  HookTest() {
    char name[] = "/tmp/vitald-hook-XXXXXX";
    if (!mkdtemp(name)) std::abort();
    dir_ = name;
    chmod(name, 0777);
    settings_.name = testing::UnitTest::GetInstance()->current_test_info()->name();
    settings_.external_url = "http://host:9100";
    settings_.external_labels = {{"cluster", "lab"}, {"severity", "not this one"}};
  }
  ~HookTest() override { fs::remove_all(dir_); }

  // `set -e` and $dir are given.
  void script(const std::string& body) {
    const auto path = dir_ + "/hook";
    std::ofstream(path) << "#!/bin/sh\nset -e\ndir=" << dir_ << "\n" << body << "\n";
    chmod(path.c_str(), 0755);
    settings_.command = {path};
  }
  [[nodiscard]] std::string file(const std::string& name) const {
    std::ifstream in(dir_ + "/" + name);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  [[nodiscard]] double runs(const std::string& result) const {
    return metric("vitald_hook_runs_total", settings_.name, result);
  }
  [[nodiscard]] std::optional<CommandRun> last_run() const {
    for (const auto& row : receiver_book().rows())
      if (row.name == settings_.name && !row.runs.empty()) return row.runs.front();
    return {};
  }
  // The limit is only for a test that fails.
  template <class F>
  static bool eventually(F&& condition) {
    for (int i = 0; i < 20'000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

  std::string dir_;
  CommandReceiver settings_;
};

// What began while the clock was an hour ahead, and ends now that it is right: an Alertmanager would keep it for an
// hour.
TEST(AlertMessage, NoTimeIsLaterThanNow) {
  struct Case {
    const char* name;
    std::int64_t active, fired, resolved, want_active, want_fired, want_resolved;
  };
  for (const auto& c :
       {Case{"as usual", 10, 20, 30, 10, 20, 30}, Case{"it fires", 10, 20, 0, 10, 20, 0},
        Case{"the clock was ahead", 4000, 4010, 4010, 100, 100, 100},
        Case{"and it still fires", 4000, 4010, 0, 100, 100, 0}, Case{"it is pending", 10, 0, 0, 10, 0, 0}}) {
    SCOPED_TRACE(c.name);
    Alert a;
    a.active_at_ms = c.active;
    a.fired_at_ms = c.fired;
    a.resolved_at_ms = c.resolved;
    a = not_after(a, 100);
    EXPECT_EQ(a.active_at_ms, c.want_active);
    EXPECT_EQ(a.fired_at_ms, c.want_fired);
    EXPECT_EQ(a.resolved_at_ms, c.want_resolved);
  }
}

TEST_F(HookTest, JsonIsAlertmanagersWebhook) {
  for (const bool firing : {true, false}) {
    const auto j = json::parse(webhook_json(transition("HostHot", firing), settings_));
    EXPECT_EQ(j["version"], "4");
    EXPECT_EQ(j["status"], firing ? "firing" : "resolved");
    EXPECT_EQ(j["receiver"], settings_.name);
    EXPECT_EQ(j["host"], host_name());
    EXPECT_EQ(j["externalURL"], "http://host:9100");
    EXPECT_EQ(j["truncatedAlerts"], 0);
    ASSERT_EQ(j["alerts"].size(), 1U);
    const auto& alert = j["alerts"][0];
    EXPECT_EQ(alert["labels"], (json{{"alertname", "HostHot"},
                                     {"severity", "critical"},
                                     {"cluster", "lab"},
                                     {"chip", "a\"b\\c\nd\xEF\xBF\xBD"}}));
    EXPECT_EQ(alert["status"], j["status"]);
    EXPECT_EQ(alert["annotations"], j["commonAnnotations"]);
    EXPECT_EQ(alert["startsAt"], "2023-11-14T22:14:20.250Z");
    EXPECT_EQ(alert["endsAt"], firing ? "0001-01-01T00:00:00Z" : "2023-11-14T22:15:20.000Z");
    EXPECT_EQ(alert["fingerprint"], "0000000000000abc");
    EXPECT_EQ(alert["value"], "80.5");
    EXPECT_EQ(j["groupLabels"], alert["labels"]);
    EXPECT_EQ(j["commonLabels"], alert["labels"]);
    EXPECT_THAT(j["groupKey"].get<std::string>(), HasSubstr("alertname=\"HostHot\""));
  }
  auto t = transition();
  t.alert.value = std::numeric_limits<double>::quiet_NaN();
  t.alert.annotations.clear();
  const auto j = json::parse(webhook_json(t, settings_));
  EXPECT_EQ(j["alerts"][0]["value"], "NaN");
  EXPECT_EQ(j["alerts"][0]["annotations"], json::object());
}

TEST_F(HookTest, CommandGetsAlertOnInputAndInEnvironment) {
  script("cat > $dir/in; env -0 > $dir/env; id -u > $dir/uid; pwd > $dir/pwd; ls /proc/self/fd > $dir/fds");
  settings_.command.push_back("an argument; with $shell `things`");
  std::ofstream(settings_.command[0], std::ios::app) << "printf %s \"$1\" > $dir/arg; echo said >/dev/stderr\n";
  {
    Receiver hook(settings_.copy());
    hook.notify(transition());
    ASSERT_TRUE(eventually([&] { return runs("ok") + runs("failed") > 0; }));
  }
  EXPECT_EQ(runs("ok"), 1);
  EXPECT_EQ(file("in"), webhook_json(transition(), settings_));
  EXPECT_EQ(file("arg"), "an argument; with $shell `things`");
  EXPECT_EQ(file("pwd"), "/\n");
  EXPECT_EQ(file("fds"), "0\n1\n2\n3\n");  // 3 is what ls reads
  if (geteuid() == 0) {
    EXPECT_EQ(file("uid"), std::to_string(find_user("nobody")->uid) + "\n");
  }

  std::map<std::string, std::string> env;
  std::stringstream all(file("env"));
  for (std::string entry; std::getline(all, entry, '\0');)
    env[entry.substr(0, entry.find('='))] = entry.substr(entry.find('=') + 1);
  EXPECT_EQ(env["VITALD_ALERT_NAME"], "HostHot");
  EXPECT_EQ(env["VITALD_ALERT_STATUS"], "firing");
  EXPECT_EQ(env["VITALD_ALERT_SEVERITY"], "critical");
  EXPECT_EQ(env["VITALD_ALERT_FINGERPRINT"], "0000000000000abc");
  EXPECT_EQ(env["VITALD_ALERT_TRANSITION"], "7");
  EXPECT_EQ(env["VITALD_ALERT_STARTS_AT"], "2023-11-14T22:14:20.250Z");
  EXPECT_EQ(env["VITALD_ALERT_ENDS_AT"], "");
  EXPECT_EQ(env["VITALD_ALERT_VALUE"], "80.5");
  EXPECT_EQ(env["VITALD_ALERT_SUMMARY"], "80 °C; $(touch /tmp/x) `id`");
  EXPECT_EQ(json::parse(env["VITALD_ALERT_LABELS"])["alertname"], "HostHot");
  for (const auto* shells : {"PWD", "OLDPWD", "SHLVL", "_"}) env.erase(shells);
  EXPECT_EQ(env.size(), 13U);  // PATH, LANG, HOSTNAME, the nine above and the transition
}

TEST_F(HookTest, TheLastRunsAreKept) {
  script("echo \"$VITALD_ALERT_NAME of $$\"; [ \"$VITALD_ALERT_NAME\" != D ] || sleep 60");
  settings_.timeout_ns = 300'000'000;
  Receiver hook(settings_.copy());
  for (const auto* name : {"A", "B", "C", "D"}) hook.notify(transition(name));
  ASSERT_TRUE(eventually([&] {
    const auto run = last_run();
    return run && run->alert == "D";
  }));
  const auto rows = receiver_book().rows();
  const auto row = std::ranges::find(rows, settings_.name, &ReceiverBook::Row::name);
  ASSERT_NE(row, rows.end());
  ASSERT_EQ(row->runs.size(), ReceiverBook::kMostRuns);
  EXPECT_THAT(row->text, HasSubstr("command '"));
  const char* names[] = {"D", "C", "B"};
  for (std::size_t i = 0; i < row->runs.size(); ++i) {
    EXPECT_EQ(row->runs[i].alert, names[i]);
    EXPECT_THAT(row->runs[i].output, testing::StartsWith(std::string(names[i]) + " of "));
  }
  EXPECT_STREQ(to_string(row->runs[0].result), "timeout");
  EXPECT_GE(row->runs[0].took_ns, 300'000'000);
}

TEST_F(HookTest, Outcomes) {
  struct Case {
    const char *name, *body, *result, *log;
  };
  const Case cases[] = {
      {"status", "echo to out; echo to err >&2; exit 7", "failed", "exit status 7"},
      {"signal", "kill -9 $$", "failed", "signal 9"},
      {"closes input early", "exec 0<&-; exit 0", "ok", ""},
      {"ignores input", "exit 0", "ok", ""},
      {"much output", "head -c 1000000 /dev/zero | tr '\\0' x; exit 1", "failed", "xxxx"},
      {"leaves a child behind", "sleep 1000 & echo $! > $dir/pid; exit 0", "ok", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    settings_.name = std::string("outcome: ") + c.name;
    script(c.body);
    testing::internal::CaptureStderr();
    {
      Receiver hook(settings_.copy());
      auto t = transition();
      t.alert.annotations["big"] = std::string(1 << 20, 'x');  // more than a pipe holds
      hook.notify(t);
      ASSERT_TRUE(eventually([&] { return metric("vitald_hook_duration_seconds", settings_.name) > 0; }));
      ASSERT_TRUE(eventually([&] { return runs(c.result) > 0; }));
      const auto run = last_run();
      ASSERT_TRUE(run);
      EXPECT_EQ(run->alert, "HostHot");
      EXPECT_EQ(run->status, "firing");
      EXPECT_STREQ(to_string(run->result), c.result);
      EXPECT_THAT(run->end + run->output, HasSubstr(c.log));
      EXPECT_LE(run->output.size(), 4096U);
      EXPECT_GE(run->took_ns, 0);
      EXPECT_EQ(run->exit_status >= 0, run->end.starts_with("exit status")) << run->end;
    }
    EXPECT_FALSE(last_run()) << "a receiver that is no more is in no list";
    const auto log = testing::internal::GetCapturedStderr();
    EXPECT_THAT(log, HasSubstr(c.log));
    EXPECT_LT(log.size(), 5000U);
  }
  if (const auto pid = std::atoi(file("pid").c_str()); pid > 0) kill(pid, SIGKILL);
}

AlertTransition of_alert(int n, bool firing = true) {
  auto t = transition("Alert" + std::to_string(n), firing);
  t.alert.fingerprint = static_cast<std::uint64_t>(n);
  t.number = static_cast<std::uint64_t>(2 * n + (firing ? 0 : 1));
  return t;
}
std::size_t lines(const std::string& text) { return static_cast<std::size_t>(std::ranges::count(text, '\n')); }

TEST_F(HookTest, SeveralAtOnceUpToTheLimit) {
  script("cat > /dev/null; echo $VITALD_ALERT_NAME >> $dir/started; while [ ! -e $dir/go ]; do sleep 0.01; done");
  settings_.at_once = 3;
  Receiver hook(settings_.copy());
  std::vector<AlertTransition> all;
  for (int i = 1; i <= 5; ++i) all.push_back(of_alert(i));
  hook.notify(all);
  ASSERT_TRUE(eventually([&] { return lines(file("started")) == 3; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(lines(file("started")), 3U) << "no more than three";
  std::ofstream(dir_ + "/go") << "";
  EXPECT_TRUE(eventually([&] { return runs("ok") == 5; }));
  EXPECT_EQ(lines(file("started")), 5U);
}

TEST_F(HookTest, OfOneAlertOneAtATimeAndInOrder) {
  script(
      "cat > /dev/null; mkdir $dir/lock$VITALD_ALERT_FINGERPRINT || echo both >> $dir/overlap; sleep 0.05; "
      "rmdir $dir/lock$VITALD_ALERT_FINGERPRINT; echo $VITALD_ALERT_STATUS >> $dir/$VITALD_ALERT_NAME");
  settings_.at_once = 4;
  Receiver hook(settings_.copy());
  std::vector<AlertTransition> all;
  for (int round = 0; round < 2; ++round)
    for (int i = 1; i <= 2; ++i) all.push_back(of_alert(i, true)), all.push_back(of_alert(i, false));
  hook.notify(all);
  ASSERT_TRUE(eventually([&] { return runs("ok") == 8; }));
  EXPECT_EQ(file("overlap"), "");
  for (const auto* name : {"Alert1", "Alert2"}) EXPECT_EQ(file(name), "firing\nresolved\nfiring\nresolved\n") << name;
}

TEST_F(HookTest, MoreThanInAMinuteWait) {
  script("cat > /dev/null; echo $VITALD_ALERT_NAME >> $dir/started");
  settings_.at_once = 4;
  settings_.most_per_minute = 2;
  Receiver hook(settings_.copy());
  std::vector<AlertTransition> all;
  for (int i = 1; i <= 5; ++i) all.push_back(of_alert(i));
  hook.notify(all);
  ASSERT_TRUE(eventually([&] { return runs("ok") == 2; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(lines(file("started")), 2U);
  EXPECT_EQ(metric("vitald_hook_dropped_total", settings_.name), 0) << "what waits is not lost";
}

TEST_F(HookTest, OneThatFailsIsRunAgainAndTheOthersAreNot) {
  script(
      "cat > /dev/null; echo $VITALD_ALERT_NAME >> $dir/started; "
      "[ $VITALD_ALERT_NAME != Alert1 ] || [ $(grep -c Alert1 $dir/started) = 3 ] || exit 75");
  settings_.at_once = 2;
  settings_.retries = 2;
  Receiver hook(settings_.copy());
  std::vector<AlertTransition> all;
  for (int i = 1; i <= 4; ++i) all.push_back(of_alert(i));
  hook.notify(all);
  ASSERT_TRUE(eventually([&] { return runs("ok") == 4; }));
  EXPECT_EQ(runs("failed"), 2);
  std::istringstream started(file("started"));
  std::map<std::string, int> times;
  for (std::string name; std::getline(started, name);) ++times[name];
  EXPECT_EQ(times, (std::map<std::string, int>{{"Alert1", 3}, {"Alert2", 1}, {"Alert3", 1}, {"Alert4", 1}}));
}

TEST_F(HookTest, RetriesHaveAnEnd) {
  script("cat > /dev/null; echo $VITALD_ALERT_NAME >> $dir/started; [ $VITALD_ALERT_NAME = Alert2 ]");
  settings_.retries = 1;
  Receiver hook(settings_.copy());
  hook.notify(of_alert(1));
  hook.notify(of_alert(2));
  ASSERT_TRUE(eventually([&] { return runs("ok") == 1; }));
  EXPECT_EQ(file("started"), "Alert1\nAlert1\nAlert2\n");
}

// An upgrade takes it away for a moment.
TEST_F(HookTest, NotStartedIsTriedAgain) {
  script("cat > /dev/null; echo $VITALD_ALERT_NAME >> $dir/names");
  const auto program = settings_.command.at(0);
  ASSERT_EQ(rename(program.c_str(), (program + ".away").c_str()), 0);
  Receiver hook(settings_.copy());
  hook.notify(transition());
  ASSERT_TRUE(eventually([&] { return runs("not_started") > 0; }));
  ASSERT_EQ(rename((program + ".away").c_str(), program.c_str()), 0);
  EXPECT_TRUE(eventually([&] { return !file("names").empty(); }));
}

TEST_F(HookTest, NotStarted) {
  settings_.command = {"/nonexistent/hook"};
  testing::internal::CaptureStderr();
  {
    Receiver hook(settings_.copy());
    hook.notify(transition());
    ASSERT_TRUE(eventually([&] { return runs("not_started") > 0; }));
  }
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("No such file or directory"));

  settings_.name += " user";
  settings_.user = "no-such-user";
  Receiver hook(settings_.copy());
  hook.notify(transition());
  EXPECT_TRUE(eventually([&] { return runs("not_started") > 0; }));
}

TEST_F(HookTest, TimeoutEndsTheGroup) {
  // The shell ends at SIGTERM, its child does not.
  script("(trap '' TERM; echo started; while :; do sleep 1000; done) & echo $! > $dir/pid; wait");
  settings_.timeout_ns = 100'000'000;
  Receiver hook(settings_.copy());
  hook.notify(transition());
  ASSERT_TRUE(eventually([&] { return runs("timeout") > 0; }));
  const int pid = std::atoi(file("pid").c_str());
  ASSERT_GT(pid, 0);
  EXPECT_TRUE(eventually([&] {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string line;
    return !std::getline(stat, line) || line.find(") Z ") != std::string::npos;
  }));
}

TEST_F(HookTest, QueueDropsTheOldest) {
  ASSERT_EQ(mkfifo((dir_ + "/gate").c_str(), 0666), 0);
  chmod((dir_ + "/gate").c_str(), 0666);
  script("read line < $dir/gate; echo $VITALD_ALERT_NAME >> $dir/ran");
  settings_.queue_limit = 2;
  Receiver hook(settings_.copy());
  hook.notify(transition("A"));
  ASSERT_TRUE(eventually([&] { return metric("vitald_hook_queue_length", settings_.name) == 0; }));  // A runs
  for (const auto* name : {"B", "C", "D", "E"}) hook.notify(transition(name));
  EXPECT_EQ(metric("vitald_hook_queue_length", settings_.name), 2);
  EXPECT_EQ(metric("vitald_hook_dropped_total", settings_.name), 2);
  for (int done = 1; done <= 3; ++done) {
    std::ofstream(dir_ + "/gate") << "go\n";  // opens when the script does
    ASSERT_TRUE(eventually([&] { return runs("ok") == done; }));
  }
  EXPECT_EQ(file("ran"), "A\nD\nE\n");
}

TEST_F(HookTest, DestructorEndsARunningCommandAndDropsTheQueue) {
  script("trap '' TERM; echo $$ > $dir/pid.tmp; mv $dir/pid.tmp $dir/pid; while :; do sleep 1000; done");
  const auto pid = [&] { return std::atoi(file("pid").c_str()); };
  {
    Receiver hook(settings_.copy());
    hook.notify(transition());
    hook.notify(transition());
    ASSERT_TRUE(eventually([&] { return pid() > 0; }));
  }
  EXPECT_EQ(kill(pid(), 0), -1);
  EXPECT_EQ(runs("ok") + runs("failed") + runs("timeout"), 0);
}

}  // namespace
}  // namespace vitald
