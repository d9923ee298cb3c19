// SPDX-License-Identifier: Apache-2.0
// Requests on threads of their own, when the program ends.
#include "agent/api/jobs.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "core/clock.h"

namespace vitald {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000, kSecond = 1'000'000'000;

TEST(Jobs, EndWaitsNoLongerThanItMayForWhatDoesNotGiveUp) {
  const SystemClock clock;
  std::atomic<bool> begun = false, may_end = false, told = false, second = false;
  auto jobs = std::make_unique<Jobs>(Jobs::Settings{}, std::make_shared<const Wake>(), clock);
  const auto far_ns = clock.boot_ns() + 600 * kSecond;
  const auto asked = jobs->run(
      [&](const Jobs::GivenUp& given_up) {
        begun = true;
        while (!may_end) std::this_thread::yield();  // a regular expression that is compiled
        told = given_up();
        return Response{};
      },
      far_ns);
  ASSERT_TRUE(asked);
  while (!begun) std::this_thread::yield();
  const auto waits = jobs->run(
      [&](const Jobs::GivenUp&) {
        second = true;
        return Response{};
      },
      far_ns);
  ASSERT_TRUE(waits);
  EXPECT_FALSE(jobs->end(0));
  const auto before_ns = clock.boot_ns();
  EXPECT_FALSE(jobs->end(20 * kMillisecond));
  EXPECT_GE(clock.boot_ns() - before_ns, 20 * kMillisecond);
  EXPECT_FALSE(jobs->run([](const Jobs::GivenUp&) { return Response{}; }, far_ns)) << "nothing more is begun";
  may_end = true;
  EXPECT_TRUE(jobs->end(600 * kSecond));
  EXPECT_TRUE(told) << "that it is over";
  EXPECT_FALSE(second) << "what waited is let go of";
  EXPECT_TRUE(jobs->end(0)) << "and again";
}

TEST(Jobs, EndOfWhatHasNothingToDo) {
  const SystemClock clock;
  Jobs jobs({}, std::make_shared<const Wake>(), clock);
  EXPECT_TRUE(jobs.end(0));
}

}  // namespace
}  // namespace vitald
