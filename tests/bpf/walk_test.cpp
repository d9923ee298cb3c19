// SPDX-License-Identifier: Apache-2.0
// The example of docs/adding-a-number-per-owner.md, as it stands there, on the running kernel.
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/collector.h"

namespace vitald {

extern const CollectorInfo collector_runq_latency;

TEST(Walk, NumberPerOwner) {
  if (geteuid() != 0) GTEST_SKIP() << "BPF programs need root";
  const Host host;
  Options options;
  options.declare(collector_runq_latency.flags);
  auto probe = collector_runq_latency.make(host, options);
  ASSERT_TRUE(probe) << probe.error().text;
  ASSERT_TRUE((*probe)->status().starts_with("attached")) << (*probe)->status();
  double waits = 0;
  std::size_t owners = 0;
  for (int i = 0; i < 500 && waits == 0; ++i) {
    usleep(10'000);  // this very task waits for its CPU afterwards
    BatchWriter out("runq_latency");
    out.begin(0);
    ASSERT_TRUE((*probe)->collect(out));
    const auto batch = out.finish({}, 0, 0);
    owners = 0;
    for (const auto& s : batch->layout->samples())
      if (s.family->name == "vitald_owner_waits_total") {
        ++owners;
        waits += batch->values[s.value];
      }
  }
  EXPECT_GT(owners, 1u);
  EXPECT_GT(waits, 0);
}

}  // namespace vitald
