// SPDX-License-Identifier: Apache-2.0
// Events over HTTP: numbers that outlive a restart, a watcher who wants one kind among many, a share for each address.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include "agent/api/endpoints.h"
#include "agent/pipeline/callbacks.h"
#include "core/snapshot.h"
#include "sensors/proc/kernel_log_tail.h"
#include "sensors/self/posted_events.h"
#include "sensors/sys/thermal_news.h"

namespace vitald {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::int64_t kSecond = 1'000'000'000;

struct Host {
  Host(std::int64_t begin_wall_ns = 0) {
    agent.events = &log;
    agent.clock = &clock;
    agent.event_numbers = EventNumbers(begin_wall_ns);
  }
  void happen(const std::string& type, int count = 1) {
    Snapshot snapshot;
    auto batch = std::make_shared<Batch>();
    batch->collector = "c";
    batch->collected_boot_ns = ++collected;
    for (int i = 0; i < count; ++i)
      batch->events.push_back(std::make_shared<const Event>(Event{type, kSecond, "", {}}));
    snapshot.batches = {batch};
    log.append(snapshot);
  }
  static Request request(const std::string& query, std::string peer = "192.0.2.1") {
    Request r;
    r.peer = std::move(peer);
    for (std::size_t at = 0; at < query.size();) {
      const auto equals = query.find('=', at), end = std::min(query.find('&', at), query.size());
      r.query.emplace_back(query.substr(at, equals - at), query.substr(equals + 1, end - equals - 1));
      at = end + 1;
    }
    r.arrived_boot_ns = 1000 * kSecond;
    return r;
  }
  std::string events(const std::string& query) { return *std::get<Response>(events_page(agent)(request(query))).body; }

  FakeClock clock;
  EventLog log;
  AgentView agent;
  std::int64_t collected = 0;
};

TEST(Events, PostedOnes) {
  struct Case {
    const char* name;
    const char* body;
    int status;
    const char* want;  // of the event as it is kept, or of the answer
  };
  Host host;
  PostedEvents posted;
  host.agent.posted = &posted;
  const Case cases[] = {
      {"all there is",
       R"({"type":"deploy","text":"Version 3","value":2.5,"labels":{"app":"a"},"metadata":{"by":7},"timestamp":1699999990})",
       202, "deploy|Version 3|app=a,by=7,value=2.5|-10"},
      {"a type is enough", R"({"type":"x_1"})", 202, "x_1|||0"},
      {"a time to come is now", R"({"type":"x","timestamp":"2099-01-01T00:00:00Z"})", 202, "x|||0"},
      {"the year 9999 is to come, too", R"({"type":"x","timestamp":253402300799})", 202, "x|||0"},
      {"as Go writes no time", R"({"type":"x","timestamp":"0001-01-01T00:00:00Z"})", 400, "a time since 1970"},
      {"before 1970", R"({"type":"x","timestamp":-1})", 400, "a time since 1970"},
      {"none", "", 400, "no JSON object"},
      {"torn", R"({"type":"x")", 400, "no JSON object"},
      {"a list", "[1]", 400, "no JSON object"},
      {"no type", R"({"text":"x"})", 400, "type: expected a word"},
      {"a type that is no word", R"({"type":"Deploy now"})", 400, "type: expected a word of small letters"},
      {"what vitald alone tells of", R"({"type":"alert_firing"})", 400, "which is vitald's own"},
      {"another of those", R"({"type":"oom_kill","text":"x"})", 400, "type: 'oom_kill' found"},
      {"nearly one of those", R"({"type":"oom_kills"})", 400, "'oom_kill', which is vitald's own"},
      {"fields as alerts have them", R"({"type":"deploy","labels":{"muted":"true"}})", 202, "deploy||muted=true|0"},
      {"labels", R"({"type":"x","labels":[1]})", 400, "labels: expected an object"},
      {"a label that is a list", R"({"type":"x","labels":{"a":[1]}})", 400, "labels.a: expected"},
      {"a value that is text", R"({"type":"x","value":"1"})", 400, "value: expected a number"},
      {"a time that is none", R"({"type":"x","timestamp":"soon"})", 400, "timestamp: expected a time"},
      {"what is not known", R"({"type":"x","kind":"y"})", 400, "kind: expected none of that name"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    auto request = host.request("");
    request.method = "POST";
    request.body = c.body;
    const auto got = std::get<Response>(events_page(host.agent)(request));
    EXPECT_EQ(got.status, c.status);
    const auto events = posted.take(10);
    ASSERT_EQ(events.size(), c.status == 202 ? 1U : 0U);
    if (events.empty()) {
      EXPECT_THAT(*got.body, HasSubstr(c.want));
      continue;
    }
    std::string fields;
    for (const auto& [name, value] : events[0].fields) fields += (fields.empty() ? "" : ",") + name + "=" + value;
    const auto age_s = (host.clock.boot - events[0].boot_ns) / kSecond;
    EXPECT_EQ(fmt::format("{}|{}|{}|{}", events[0].type, events[0].text, fields, -age_s), c.want);
  }
  EXPECT_EQ(posted.malformed(), 15U);
  // Too many.
  auto request = host.request("");
  request.method = "POST";
  request.body = R"({"type":"x"})";
  for (std::size_t i = 0; i < PostedEvents::kMost; ++i)
    EXPECT_EQ(std::get<Response>(events_page(host.agent)(request)).status, 202);
  const auto full = std::get<Response>(events_page(host.agent)(request));
  EXPECT_EQ(full.status, 503);
  EXPECT_THAT(full.headers, testing::Contains(testing::Pair("Retry-After", "1")));
  EXPECT_EQ(posted.refused(), 1U);
}

TEST(Events, WhoComesBackAfterARestartMissesNothing) {
  constexpr std::int64_t kWall = 1'700'000'000 * kSecond;
  Host before(kWall);
  before.happen("oom_kill", 5);
  EXPECT_THAT(before.events("limit=1"), HasSubstr("\"newest\":1700000000000005"));
  const std::string seen = "after=1700000000000005";
  EXPECT_THAT(before.events(seen), HasSubstr("\"events\":[]"));

  // More than were seen, so that the old number alone would hide five of them.
  Host after(kWall + 60 * kSecond);
  after.happen("oom_kill", 7);
  const auto all = after.events(seen);
  EXPECT_THAT(all, HasSubstr("\"sequence\":1700000060000001"));
  EXPECT_THAT(all, HasSubstr("\"sequence\":1700000060000007"));

  struct Case {
    const char* name;
    const char* query;
    const char* want;
  };
  const Case cases[] = {
      {"from the beginning", "after=0", "\"sequence\":1700000060000001"},
      {"of a run whose clock was ahead", "after=1800000000000001", "\"sequence\":1700000060000001"},
      {"the largest number", "after=18446744073709551615", "\"sequence\":1700000060000001"},
      {"the newest", "after=1700000060000007", "\"events\":[]"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_THAT(after.events(c.query), HasSubstr(c.want));
  }
}

TEST(Events, AWatcherFindsItsKindBehindManyOthers) {
  Host host;
  const auto watch = watch_request(host.agent);
  host.happen("process_death", 900);
  host.happen("oom_kill");
  auto answer = watch(Host::request("after=0&type=oom_kill"));
  auto& pending = *std::get<std::unique_ptr<Pending>>(answer);
  const auto found = pending.poll(1000 * kSecond);
  ASSERT_TRUE(found);
  EXPECT_THAT(*found->body, HasSubstr("id: 901\nevent: oom_kill\n"));
  EXPECT_THAT(*found->body, Not(HasSubstr("process_death")));

  // None yet: it waits, and does not look at the same ones for ever.
  auto later = watch(Host::request("after=901&type=oom_kill"));
  auto& waiting = *std::get<std::unique_ptr<Pending>>(later);
  host.happen("process_death", 500);
  EXPECT_FALSE(waiting.poll(1001 * kSecond));
  host.happen("oom_kill");
  const auto next = waiting.poll(1002 * kSecond);
  ASSERT_TRUE(next);
  EXPECT_THAT(*next->body, HasSubstr("id: 1402\nevent: oom_kill\n"));
}

TEST(Events, OneAddressLeavesRoomForOthers) {
  Host host;
  const auto watch = watch_request(host.agent);
  std::vector<Answer> held;
  const auto come = [&](const std::string& peer) {
    auto answer = watch(Host::request("", peer));
    const bool in = std::holds_alternative<std::unique_ptr<Pending>>(answer);
    if (in) held.push_back(std::move(answer));
    return in;
  };
  int of_first = 0;
  while (come("192.0.2.1")) ASSERT_LT(++of_first, 100);
  EXPECT_EQ(of_first, 16);
  EXPECT_TRUE(come("192.0.2.2"));
  held.clear();
  EXPECT_TRUE(come("192.0.2.1")) << "those that went are not counted";
}

TEST(Events, WhoRegistersIsPostedNothingOfBefore) {
  Host host;
  host.happen("oom_kill", 3);
  Callbacks callbacks(nullptr);
  // Nobody listens there: what is posted waits.
  ASSERT_TRUE(callbacks.add("oom_kill", "http://127.0.0.1:1/", 0, host.log.newest()));
  const auto waiting = [&callbacks] {
    const auto stats = callbacks.rows().at(0).stats;
    return stats.waiting + stats.in_flight;
  };
  callbacks.tell(host.log, 0);
  EXPECT_EQ(waiting(), 0U);
  host.happen("oom_kill", 2);
  callbacks.tell(host.log, 0);
  EXPECT_EQ(waiting(), 2U);
}

// What is told has a key that whoever is told may know it by again, so no program may choose another's.
TEST(Events, FieldsThatProgramsPostMakeNoKeyAndSilenceNothing) {
  struct Case {
    const char* name;
    const char* collector;
    std::vector<std::pair<std::string, std::string>> fields;
    std::size_t told;  // of two
    bool same;         // their keys
  };
  const std::vector<std::pair<std::string, std::string>> alert = {{"fingerprint", "a"}, {"transition", "1"}};
  const Case cases[] = {{"an alert's twice", "alerts", alert, 2, true},
                        {"posted ones: two", "posted", alert, 2, false},
                        {"an alert that is silenced", "alerts", {{"muted", "true"}}, 0, false},
                        {"a posted one that says so", "posted", {{"muted", "true"}}, 2, false}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EventLog log;
    Callbacks callbacks(nullptr);
    ASSERT_TRUE(callbacks.add("deploy", "http://127.0.0.1:1/", 0, 0));
    for (const std::int64_t at : {1, 2}) {
      Snapshot snapshot;
      auto batch = std::make_shared<Batch>();
      batch->collector = c.collector;
      batch->collected_boot_ns = at;
      batch->events.push_back(std::make_shared<const Event>(Event{"deploy", kSecond, "", c.fields}));
      snapshot.batches = {batch};
      log.append(snapshot);
    }
    callbacks.tell(log, 0);
    const auto stats = callbacks.rows().at(0).stats;
    EXPECT_EQ(stats.waiting + stats.in_flight, c.told);
    const auto entries = log.since(0, 2);
    ASSERT_EQ(entries.size(), 2U);
    EXPECT_EQ(event_key(entries[0]) == event_key(entries[1]), c.same);
  }
}

TEST(Events, TypesThatCallbacksMayAskForAreThoseThatThereAre) {
  std::set<std::string> named;
  const std::regex type(R"re((?:event\.type = |\? )"([a-z_]+)"(?: : "([a-z_]+)")?;)re");
  for (const auto* folder : {"sensors", "agent/pipeline"})
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(std::string(VITALD_SOURCE_DIR "/") + folder)) {
      if (entry.path().extension() != ".cpp") continue;
      std::ifstream file(entry.path());
      for (std::string line; std::getline(file, line);) {
        if (line.find("event.type = ") == std::string::npos) continue;
        std::smatch found;
        ASSERT_TRUE(std::regex_search(line, found, type)) << entry.path() << ": " << line;
        for (const auto i : {1U, 2U})
          if (found[i].matched) named.insert(found[i]);
      }
    }
  for (const auto kind : kernel_news_kinds()) named.insert(std::string(kind));
  for (const auto what : kThermalNews) named.insert(fmt::format("thermal_{}", what));
  const auto known = event_types();
  EXPECT_EQ(named, std::set<std::string>(known.begin(), known.end()));
  EXPECT_EQ(event_type_problem("*"), "");
  EXPECT_EQ(event_type_problem("deploy"), "") << "programs post it";
  for (const auto* none : {"", "Deploy", "alert firing", "**"})
    EXPECT_THAT(event_type_problem(none), HasSubstr("expected alert_firing, alert_resolved, ")) << none;
  EXPECT_THAT(event_type_problem("alert_firin"), HasSubstr("did you mean 'alert_firing'?"));
}

}  // namespace
}  // namespace vitald
