// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "core/clock.h"
#include "core/instruments.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

using testing::HasSubstr;
using testing::Not;

// Of another process: these are what --path.procfs=TREE would have us say of ourselves.
const Tree kTree = {
    {"proc/self/statm", "7040 1876 1603 151 0 2130 0\n"},
    {"proc/self/stat",
     "12 (a ) b) S 1 12 12 0 -1 4194304 1 0 0 0 5 6 0 0 20 0 3 0 250 28835840 1876 18446744073709551615\n"},
    {"proc/stat", "cpu  1 2 3\nbtime 1700000000\n"},
    {"proc/net/netstat",
     "TcpExt: InOctets OutOctets\nTcpExt: 1 2\n"
     "IpExt: InNoRoutes InOctets OutOctets InMcastOctets\nIpExt: 0 6286396970 2786264347 3\n"},
};

TEST(Self, ReadsItsOwnProc) {
  const auto got = run_collector("self", kTree);
  EXPECT_EQ(got.error, "");
  for (const auto* of_the_tree : {"memory_bytes 28835840\n", "memory_bytes 7684096\n", "seconds 1700000002.5\n",
                                  "bytes_total 6286396970\n", "bytes_total 2786264347\n"})
    EXPECT_THAT(got.text, Not(HasSubstr(of_the_tree)));
  const auto value = [&](const std::string& family) {
    const auto at = got.text.find("\n" + family + " ");
    return at == std::string::npos ? -1.0 : std::stod(got.text.substr(at + family.size() + 2));
  };
  const auto resident = value("process_resident_memory_bytes");
  EXPECT_GT(resident, 1e6);
  EXPECT_GT(value("process_virtual_memory_bytes"), resident);
  EXPECT_GE(value("process_open_fds"), 3);
  EXPECT_GE(value("process_cpu_seconds_total"), 0);
  EXPECT_GE(value("process_network_receive_bytes_total"), 0);
  // The test's process began a moment ago, by the clock of this machine.
  const auto now = static_cast<double>(SystemClock::read(CLOCK_REALTIME)) / 1e9;
  EXPECT_LT(std::abs(value("process_start_time_seconds") - now), 600);
}

TEST(Self, Instruments) {
  instruments().counter("vitald_test_total", "h", {{"code", "200"}}).Increment(3);
  instruments().counter("vitald_test_total", "h", {{"code", "500"}}).Increment();
  instruments().counter("promhttp_test_total", "h");
  instruments().histogram("vitald_test_hook_seconds", "h", {1}, {{"hook", "a"}}).Observe(2);
  instruments().histogram("vitald_test_hook_seconds", "h", {1}, {{"hook", "b"}}).Observe(0.5);
  auto& histogram = instruments().histogram("vitald_test_seconds", "h", {1, 2});
  EXPECT_EQ(&instruments().histogram("vitald_test_seconds", "h", {1, 2}), &histogram);
  EXPECT_THROW(instruments().gauge("vitald_test_total", "h"), std::logic_error);
  EXPECT_THROW(instruments().counter("vitald_test_total", "h", {{"color", "red"}}), std::logic_error);
  for (const double v : {0.5, 1.5, 5.0}) histogram.Observe(v);

  const auto all = run_collector("self", kTree);
  EXPECT_THAT(all.text, HasSubstr("vitald_test_total{code=\"200\"} 3\n"));
  EXPECT_THAT(all.text, HasSubstr("vitald_test_total{code=\"500\"} 1\n"));
  EXPECT_THAT(all.text, HasSubstr("vitald_test_hook_seconds_bucket{hook=\"a\",le=\"1\"} 0\n"));
  EXPECT_THAT(all.text, HasSubstr("vitald_test_hook_seconds_count{hook=\"b\"} 1\n"));
  EXPECT_THAT(all.text, HasSubstr("promhttp_test_total 0\n"));
  EXPECT_THAT(all.text, HasSubstr("vitald_test_seconds_bucket{le=\"1\"} 1\nvitald_test_seconds_bucket{le=\"2\"} 2\n"
                                  "vitald_test_seconds_bucket{le=\"+Inf\"} 3\n"
                                  "vitald_test_seconds_sum 7\nvitald_test_seconds_count 3\n"));
  EXPECT_THAT(all.types, HasSubstr("vitald_test_seconds histogram h\n"));

  const auto ours = run_collector("self", kTree, {{"web.disable-exporter-metrics", "true"}});
  EXPECT_THAT(ours.text, HasSubstr("vitald_test_total"));
  EXPECT_THAT(ours.text, Not(HasSubstr("promhttp")));
  EXPECT_THAT(ours.text, Not(HasSubstr("process_")));
}

}  // namespace
}  // namespace vitald
