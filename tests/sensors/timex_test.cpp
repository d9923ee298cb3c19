// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/sensors/run_collector.h"

namespace vitald {

// adjtimex(2) answers for the running kernel: what can be said of every machine.
TEST(Timex, AsksTheKernel) {
  const auto got = run_collector("timex", {});
  EXPECT_EQ(got.error, "");
  EXPECT_NE(got.text.find("node_timex_sync_status "), std::string::npos);
  EXPECT_NE(got.text.find("node_timex_frequency_adjustment_ratio "), std::string::npos);
  EXPECT_NE(got.text.find("node_timex_tick_seconds 0.0"), std::string::npos) << got.text;
}

}  // namespace vitald
