// SPDX-License-Identifier: Apache-2.0
// A task that touches a known number of pages for the first time.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "sensors/owner/hierarchy.h"
#include "tests/bpf/live_probe.h"
#include "tests/bpf/load.h"

namespace vitald {
namespace {

constexpr std::size_t kPages = 5000;

TEST_F(Probes, PageFaultsOfOwners) {
  for (const auto& rung : kRungs) {
    if (!climb(rung)) continue;
    SCOPED_TRACE(rung.name);
    until_seen_whole([&] {
      const auto v1 = cpu_hierarchy(real_host_);
      LiveProbe probe("page_faults");
      ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
      const TestCgroup cgroup(v1, fmt::format("vitald-faults-{}", getpid()));
      const auto key = fmt::format("vitald_owner_page_faults_total{{kind=\"user\",owner=\"{}\",owner_kind=\"other\"}}",
                                   cgroup.path());
      Child child(cgroup, 0, [] {
        const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
        void* p = mmap(nullptr, kPages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) _exit(2);
        madvise(p, kPages * page, MADV_NOHUGEPAGE);
        for (std::size_t i = 0; i < kPages; ++i) static_cast<volatile char*>(p)[i * page] = 1;
        usleep(1'500'000);  // a cgroup that is younger than a second has no owner yet
      });
      usleep(1'200'000);
      probe.clock.advance_ns(2'000'000'000);
      probe.collect();
      probe.clock.advance_ns(2'000'000'000);
      const auto series = probe.collect();
      child.finish();
      const auto faults = series.contains(key) ? series.at(key) : 0;
      fmt::print("{}: {} faults of {} pages\n", rung.name, faults, kPages);
      EXPECT_GE(faults, kPages);
      EXPECT_LE(faults, kPages + 500) << "fork, libc, stack";
    });
  }
}

}  // namespace
}  // namespace vitald
