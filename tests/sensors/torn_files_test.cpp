// SPDX-License-Identifier: Apache-2.0
// A file of /proc cut at any byte, or with a byte of rubbish at any place: no collector crashes, what it
// gives are numbers, what it complains about is malformed, and a whole file afterwards is read as before.
#include <gtest/gtest.h>

#include <string>

#include "tests/sensors/run_collector.h"

namespace vitald {

TEST(TornFiles, AnyCut) {
  struct Case {
    const char *collector, *path;
    FlagValues flags;
    std::string text;
  };
  const std::string stat =
      "cpu  301 61 111 897 35 2 39 0 44 36\ncpu0 78240 19 63145 1610313 220 1 6860 0 2 1\n"
      "cpu1 98574 23 10768 1025132 619 0 46 0 3 2\nintr 9919471 17 0 0 1\nctxt 11972819\nbtime 1989053212\n"
      "processes 49744\nprocs_running 2\nprocs_blocked 0\nsoftirq 505 25 14 16 21 18 0 17 62 12 50\n";
  const Case cases[] = {
      {"cpu", "proc/stat", {}, stat},
      {"stat", "proc/stat", {{"collector.stat.softirq", "true"}}, stat},
      {"cpu",
       "proc/cpuinfo",
       {{"collector.cpu.info", "true"}, {"collector.cpu.info.flags-include", "a"}},
       "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu MHz\t\t: 1600.125\ncore id\t\t: 3\nflags\t\t: vme aes avx\n\n"
       "processor\t: 1\nvendor_id\t: GenuineIntel\ncpu MHz\t\t: 800.1\n\n"},
      {"meminfo",
       "proc/meminfo",
       {},
       "MemTotal:        8304799 kB\nActive(anon):    4736554 kB\nHugePages_Total:       0\nDirectMap2M:     8722094 "
       "kB\n"},
      {"vmstat", "proc/vmstat", {}, "nr_free_pages 588263\npgpgin 7114375\npgpgout 1541180163\noom_kill 0\n"},
      {"pressure",
       "proc/pressure/io",
       {},
       "some avg10=0.07 avg60=0.12 avg300=0.05 total=178413062\nfull avg10=0.07 avg60=0.12 avg300=0.05 "
       "total=110706457\n"},
      {"diskstats",
       "proc/diskstats",
       {},
       "   8       0 sda 74964001 83677544 1921857702 10045249 65464517 12456237 387450683 14796240 0 8323610 "
       "42404605\n"
       " 259       0 nvme0n1 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n"},
      {"netdev",
       "proc/net/dev",
       {{"collector.netdev.netlink", "false"}},
       "Inter-|   Receive |  Transmit\n face |bytes    packets |bytes\n"
       "    lo: 435303245 1832522 0 0 0 0 0 0 435303245 1832522 0 0 0 0 0 0\n  eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 "
       "15 16\n"},
  };
  for (const auto& c : cases) {
    CollectorFixture f(c.collector, {{"proc/stat", stat}}, c.flags);
    f.write(c.path, c.text);
    const auto whole = f.run();
    EXPECT_EQ(whole.error, "") << c.path;
    const auto check = [&](const std::string& text) {
      f.write(c.path, text);
      const auto got = f.run();
      EXPECT_EQ(got.text.find("nan"), std::string::npos) << text;
      EXPECT_TRUE(got.error.empty() || got.error.starts_with("malformed: /")) << text << got.error;
    };
    for (std::size_t i = 0; i < c.text.size(); i += 5) {
      SCOPED_TRACE(c.path + std::string(" byte ") + std::to_string(i));
      check(c.text.substr(0, i));
      auto spoilt = c.text;
      spoilt[i] = "\0\x80:-\n 9"[i % 7];
      check(spoilt);
    }
    f.write(c.path, c.text);
    const auto again = f.run();
    EXPECT_EQ(again.error, "") << c.path;
    // A spoilt CPU counter that was larger than the real one stays: counters only grow.
    if (std::string_view(c.collector) == "cpu") continue;
    EXPECT_EQ(again.text, whole.text) << c.path;
  }
}

}  // namespace vitald
