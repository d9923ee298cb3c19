// SPDX-License-Identifier: Apache-2.0
// Events that were posted come with the next collection, which they bring themselves, once a second at most.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include "core/clock.h"
#include "core/collector.h"
#include "sensors/self/posted_events.h"

namespace vitald {

extern const CollectorInfo collector_posted;

namespace {

bool readable(int fd, int timeout_ms) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, timeout_ms) == 1;
}

TEST(Posted, BringsACollectionAndNotMany) {
  PostedEvents posted;
  EXPECT_FALSE(readable(posted.fd(), 0));
  const auto now = SystemClock::read(CLOCK_BOOTTIME);
  EXPECT_TRUE(posted.add({"a", 1, "", {}}, now));
  EXPECT_TRUE(readable(posted.fd(), 2000));
  EXPECT_EQ(posted.take(10).size(), 1U);
  EXPECT_FALSE(readable(posted.fd(), 0));
  // The next one within a second waits for the end of it.
  EXPECT_TRUE(posted.add({"b", 1, "", {}}, SystemClock::read(CLOCK_BOOTTIME)));
  EXPECT_FALSE(readable(posted.fd(), 0));
  EXPECT_TRUE(readable(posted.fd(), 5000));
  EXPECT_GE(SystemClock::read(CLOCK_BOOTTIME) - now, 1'000'000'000);
}

TEST(Posted, TravelsInTheBatchAndIsCounted) {
  Host host;
  Options options;
  auto& posted = host.shared<PostedEvents>();
  auto made = collector_posted.make(host, options);
  ASSERT_TRUE(made);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(posted.add({"deploy", i, "text", {{"value", "1"}}}, 1));
  posted.count_malformed();
  BatchWriter writer("posted");
  writer.begin(1);
  ASSERT_TRUE((*made)->collect(writer));
  const auto batch = writer.finish({}, 0, 0);
  ASSERT_EQ(batch->events.size(), 3U);
  EXPECT_EQ(batch->events[2]->boot_ns, 2);
  EXPECT_THAT(batch->values, testing::ElementsAre(3, 0, 1));
  writer.begin(2);
  ASSERT_TRUE((*made)->collect(writer));
  EXPECT_TRUE(writer.finish({}, 0, 0)->events.empty());
}

}  // namespace
}  // namespace vitald
