// SPDX-License-Identifier: Apache-2.0
// When a host's shares are told to a scheduler, and when the request looks a second time.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/api/endpoints.h"
#include "core/batch.h"

namespace vitald {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr MetricDesc kRatio{"vitald_utilization_ratio", MetricType::gauge, "", "resource"};
constexpr MetricDesc kWatts{"vitald_host_power_watts", MetricType::gauge, "", "source"};
constexpr MetricDesc kWattsOver{"vitald_host_power_over_seconds", MetricType::gauge, "", "source"};
constexpr MetricDesc kOver{"vitald_utilization_over_seconds", MetricType::gauge, "", "resource"};

class SchedulerTest : public testing::Test {
 protected:
  SchedulerTest() {
    agent.latest = [this] { return latest; };
    agent.rules = [] { return nullptr; };
    agent.silences = std::make_shared<Silences>();
    agent.clock = &clock;
  }
  // A collection that begins now; over 0: it is the first look.
  void collect(double cpu, double over_s, double watts_over_s = 0, std::int64_t takes_ns = 0) {
    const auto began_ns = clock.boot;
    clock.advance_ns(takes_ns);
    out.begin(clock.boot, clock.wall);
    if (over_s > 0) out.set(kRatio, cpu, "cpu");
    out.set(kOver, over_s, "cpu");
    out.set(kWatts, 60, "rapl_packages");
    if (watts_over_s > 0) out.set(kWattsOver, watts_over_s, "rapl_packages");
    latest = std::make_shared<const Snapshot>(Snapshot{++number, began_ns, clock.wall, {out.finish({}, 0, 0)}});
  }
  void ask(std::vector<std::pair<std::string, std::string>> query = {}) {
    Request request;
    request.path = "/api/v1/utilization";
    request.query = std::move(query);
    request.arrived_boot_ns = clock.boot;
    pending = std::get<std::unique_ptr<Pending>>(utilization_page(agent)(request));
  }
  // What it answers now: nothing yet, the share of the CPUs in percent, or "not known".
  std::string answer() {
    const auto got = pending->poll(clock.boot);
    if (!got) return "";
    told = nlohmann::json::parse(*got->body)["data"];
    return told.contains("cpu") ? fmt::format("{}", told["cpu"]["percent"].get<double>()) : "not known";
  }

  FakeClock clock;
  AgentView agent;
  BatchWriter out{"utilization"};
  SnapshotPtr latest;
  std::uint64_t number = 0;
  std::unique_ptr<Pending> pending;
  nlohmann::json told;
};

TEST_F(SchedulerTest, AMeanOfNowIsToldAtOnce) {
  collect(0.25, 15);
  ask();
  EXPECT_EQ(answer(), "25");
  clock.advance_ns(2 * kSecondNs);  // older than a second: another collection, for this request
  ask();
  EXPECT_EQ(answer(), "");
  EXPECT_EQ(pending->wants_snapshot_boot_ns(), clock.boot - kSecondNs);
  collect(0.5, 2);
  EXPECT_EQ(answer(), "50");
}

TEST_F(SchedulerTest, AfterTheMeanOfMinutesItLooksAgain) {
  ask({{"cpu_threshold", "90"}});
  collect(0.63, 165);
  EXPECT_EQ(answer(), "") << "the mean of 165 s is not how busy it is";
  EXPECT_EQ(pending->wants_snapshot_boot_ns(), 0) << "not before a second has passed";
  const auto look_again = pending->deadline_boot_ns();
  EXPECT_GE(look_again - clock.boot, kSecondNs);
  EXPECT_LT(look_again - clock.boot, kSecondNs * 11 / 10);
  clock.advance_ns(look_again - clock.boot);
  EXPECT_EQ(answer(), "");
  EXPECT_GT(pending->wants_snapshot_boot_ns(), 0);
  EXPECT_LE(pending->wants_snapshot_boot_ns(), clock.boot);
  collect(1, 1.02);
  EXPECT_EQ(answer(), "100");
  EXPECT_FALSE(told["schedulable"].get<bool>());
}

// A collection takes its time: a meter that was read late in the first is read a second later in the next one, too.
TEST_F(SchedulerTest, TheSecondBeginsWhenTheFirstLookIsDone) {
  ask();
  collect(0.63, 165);
  clock.advance_ns(kSecondNs / 10);
  EXPECT_EQ(answer(), "");
  EXPECT_GE(pending->deadline_boot_ns() - clock.boot, kSecondNs);
}

TEST_F(SchedulerTest, ThePowerOfACounterIsOfNowToo) {
  ask();
  collect(0.5, 1, 165);
  EXPECT_EQ(answer(), "");
  clock.advance_ns(pending->deadline_boot_ns() - clock.boot);
  EXPECT_EQ(answer(), "");
  collect(0.5, 1.02, 1.02);
  EXPECT_EQ(answer(), "50");
  EXPECT_EQ(told["power"]["watts"], 60);
  ask();
  collect(0.5, 1, 165);
  clock.advance_ns(2 * kSecondNs);
  EXPECT_EQ(answer(), "50");
  EXPECT_FALSE(told.contains("power"));
}

TEST_F(SchedulerTest, TheFirstLookOfAllIsFollowedByASecond) {
  collect(0, 0);
  ask();
  EXPECT_EQ(answer(), "");
  clock.advance_ns(pending->deadline_boot_ns() - clock.boot);
  EXPECT_EQ(answer(), "");
  collect(0.5, 1.02);
  EXPECT_EQ(answer(), "50");
}

// One of 0.6 s after the other, and a second between them.
TEST_F(SchedulerTest, ASlowCollectionFitsTwice) {
  constexpr auto kTakesNs = kSecondNs * 6 / 10;
  ask({{"cpu_threshold", "100"}});
  collect(0.63, 165, 0, kTakesNs);
  EXPECT_EQ(answer(), "");
  clock.advance_ns(pending->deadline_boot_ns() - clock.boot);
  EXPECT_EQ(answer(), "");
  EXPECT_GT(pending->deadline_boot_ns() - clock.boot, kTakesNs);
  collect(0.5, 1.62, 0, kTakesNs);
  EXPECT_EQ(answer(), "50");
  EXPECT_TRUE(told["schedulable"].get<bool>());
}

// Whoever asks has a timeout, too.
TEST_F(SchedulerTest, PatienceHasAnEnd) {
  ask();
  const auto arrived = clock.boot;
  collect(0.63, 165, 0, kSecondNs * 19 / 10);
  EXPECT_EQ(answer(), "");
  clock.advance_ns(pending->deadline_boot_ns() - clock.boot);
  EXPECT_EQ(answer(), "");
  EXPECT_EQ(pending->deadline_boot_ns(), arrived + 4 * kSecondNs);
}

TEST_F(SchedulerTest, WithoutASecondLookItIsNotKnown) {
  ask({{"cpu_threshold", "90"}});
  const auto arrived = clock.boot;
  collect(0.63, 165);
  EXPECT_EQ(answer(), "");
  clock.advance_ns(pending->deadline_boot_ns() - clock.boot);
  EXPECT_EQ(answer(), "");
  EXPECT_EQ(pending->deadline_boot_ns(), arrived + 2 * kSecondNs);
  clock.advance_ns(pending->deadline_boot_ns() - clock.boot);
  EXPECT_EQ(answer(), "not known");
  EXPECT_FALSE(told["schedulable"].get<bool>());
}

}  // namespace
}  // namespace vitald
