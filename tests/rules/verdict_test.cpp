// SPDX-License-Identifier: Apache-2.0
// The built-in verdicts over series of hosts in trouble: each fault is named, with its object, and nothing else is.
#include "rules/verdict.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>

#include "rules/promql/memory_source.h"

namespace vitald {
namespace {

using promql::Labels;

constexpr std::int64_t kStep = 5'000, kNow = 1'800'000, kWindow = 60'000, kBegin = 1'500'000;
constexpr const char* kOwnerHog = R"(owner_kind="unit", owner="hog.service")";
constexpr const char* kOwnerWeb = R"(owner_kind="unit", owner="web.service")";

const std::vector<VerdictRule>& rules() {
  static const auto kRules = [] {
    std::vector<std::string> problems;
    auto out = load_verdicts(built_in_verdicts(), "verdict.yaml", problems);
    EXPECT_TRUE(problems.empty()) << fmt::format("{}", fmt::join(problems, "\n"));
    return out;
  }();
  return kRules;
}

// A host for half an hour, a sample every five seconds; what a fault changes it changes in the last five minutes.
class Machine {
 public:
  Machine() {
    for (const int cpu : {0, 1}) {
      counter(fmt::format(R"(node_cpu_seconds_total{{cpu="{}", mode="user"}})", cpu), 0.2);
      counter(fmt::format(R"(node_cpu_seconds_total{{cpu="{}", mode="idle"}})", cpu), 0.8);
      counter(fmt::format(R"(node_cpu_seconds_total{{cpu="{}", mode="steal"}})", cpu), 0);
    }
    for (const auto* what : {"cpu_waiting", "io_waiting", "memory_waiting"})
      counter(fmt::format("node_pressure_{}_seconds_total", what), 0.02);
    gauge("node_memory_MemTotal_bytes", 16e9);
    gauge("node_memory_MemAvailable_bytes", 9e9);
    for (const auto* field : {"oom_kill", "pswpin"}) counter(fmt::format("node_vmstat_{}", field), 0);
    for (const auto* owner : {kOwnerHog, kOwnerWeb}) {
      for (const auto* cause : {"contention", "throttled"})
        counter(fmt::format(R"(vitald_owner_wait_seconds_total{{cause="{}", {}}})", cause, owner), 0.01);
      for (const auto* what : {"memory_limit_reclaim_seconds", "block_seconds", "forks", "cpu_seconds"})
        counter(fmt::format("vitald_owner_{}_total{{{}}}", what, owner), 0.01);
    }
    gauge(R"(node_hwmon_temp_celsius{chip="coretemp", sensor="temp1"})", 55);
    gauge(R"(node_hwmon_temp_crit_celsius{chip="coretemp", sensor="temp1"})", 100);
    counter("node_forks_total", 20);
    for (const auto* device : {"sda", "sdb"}) {
      counter(fmt::format("node_disk_io_time_seconds_total{{device=\"{}\"}}", device), 0.1);
      counter(fmt::format("node_disk_io_time_weighted_seconds_total{{device=\"{}\"}}", device), 0.2);
    }
    for (const auto* mount : {"/", "/data"}) {
      gauge(fmt::format(R"(node_filesystem_size_bytes{{mountpoint="{}", fstype="ext4"}})", mount), 100e9);
      gauge(fmt::format(R"(node_filesystem_avail_bytes{{mountpoint="{}", fstype="ext4"}})", mount), 60e9);
      gauge(fmt::format(R"(node_filesystem_readonly{{mountpoint="{}", fstype="ext4"}})", mount), 0);
    }
    for (const auto* way : {"receive", "transmit"})
      counter(fmt::format("node_network_{}_drop_total{{device=\"eth0\"}}", way), 0.01);
    counter(R"(node_softnet_dropped_total{cpu="0"})", 0);
    for (const auto* field : {"Udp_RcvbufErrors", "TcpExt_ListenDrops", "Tcp_RetransSegs"})
      counter(fmt::format("node_netstat_{}", field), 0);
    counter("node_netstat_Tcp_OutSegs", 100);
  }
  // Per second.
  void counter(const std::string& series, double calm) { rates_[series] = {calm, calm}; }
  void gauge(const std::string& series, double calm) { levels_[series] = {calm, calm}; }
  void counter_becomes(const std::string& series, double rate) { rates_[series].second = rate; }
  void gauge_becomes(const std::string& series, double level) { levels_[series].second = level; }
  // Was not there before the last five minutes are half over, and is what it is from then on.
  void comes(const std::string& series, double value) { late_[series] = value; }
  void without(std::string_view name) {
    std::erase_if(rates_, [&](const auto& row) { return row.first.starts_with(name); });
    std::erase_if(levels_, [&](const auto& row) { return row.first.starts_with(name); });
  }

  // What is bad, as "verdict scope labels"; the whole answer is left in `results`.
  std::string verdict(std::int64_t t_ms = kNow, const ObjectFilter& fits = {}) {
    promql::MemorySource source;
    const auto add = [&](const std::string& series, const auto& value_at, std::int64_t begin_ms = 0) {
      for (std::int64_t t = begin_ms; t <= t_ms; t += kStep) {
        if (t == begin_ms) {
          std::string error;
          ASSERT_TRUE(source.load(series + fmt::format(" {}", value_at(t)), kStep, error, t)) << error;
        } else {
          source.add(source.series().back().labels, t, value_at(t));
        }
      }
    };
    for (const auto& [series, rate] : rates_)
      add(series, [r = rate](std::int64_t t) {
        const auto calm_s = static_cast<double>(std::min(t, kBegin)) / 1e3,
                   bad_s = static_cast<double>(std::max<std::int64_t>(0, t - kBegin)) / 1e3;
        return 7 + calm_s * r.first + bad_s * r.second;
      });
    for (const auto& [series, level] : levels_)
      add(series, [l = level](std::int64_t t) { return t <= kBegin ? l.first : l.second; });
    for (const auto& [series, value] : late_)
      add(
          series, [v = value](std::int64_t) { return v; }, (kBegin + kNow) / 2);
    QueryLimits limits;
    auto judged = judge_verdicts(rules(), source, t_ms, kWindow, 0, limits, fits);
    EXPECT_TRUE(judged) << judged.error().text;
    if (!judged) return {};
    results = std::move(*judged);
    std::string out;
    for (const auto& r : results)
      for (const auto& o : r.shown)
        if (o.state == VerdictState::bad)
          out +=
              fmt::format("{}{} {} {}", out.empty() ? "" : "; ", r.rule->verdict, scope_of(o.labels), o.labels.text());
    return out;
  }
  const VerdictObject& bad(std::string_view verdict) const {
    for (const auto& r : results)
      if (r.rule->verdict == verdict && r.bad > 0) return r.shown.front();
    ADD_FAILURE() << "no " << verdict;
    static const VerdictObject kNone;
    return kNone;
  }
  const VerdictResult& result(std::string_view id) const {
    return *std::ranges::find_if(results, [&](const auto& r) { return r.rule->id == id; });
  }

  std::vector<VerdictResult> results;

 private:
  std::map<std::string, std::pair<double, double>> rates_, levels_;
  std::map<std::string, double> late_;
};

TEST(Verdict, EachFaultIsNamed) {
  struct Case {
    const char* name;
    std::function<void(Machine&)> fault;
    std::string want;
  };
  const std::string web = R"({owner="web.service", owner_kind="unit"})";
  const std::string hog = R"({owner="hog.service", owner_kind="unit"})";
  const auto busy = [](Machine& m) {
    for (const int cpu : {0, 1}) {
      m.counter_becomes(fmt::format(R"(node_cpu_seconds_total{{cpu="{}", mode="user"}})", cpu), 0.99);
      m.counter_becomes(fmt::format(R"(node_cpu_seconds_total{{cpu="{}", mode="idle"}})", cpu), 0.01);
    }
    m.counter_becomes("node_pressure_cpu_waiting_seconds_total", 0.8);
  };
  const auto io = [](Machine& m, double busy_share, double line) {
    m.counter_becomes("node_pressure_io_waiting_seconds_total", 0.7);
    m.counter_becomes("node_disk_io_time_seconds_total{device=\"sdb\"}", busy_share);
    m.counter_becomes("node_disk_io_time_weighted_seconds_total{device=\"sdb\"}", line);
  };
  const Case cases[] = {
      {"calm", [](Machine&) {}, ""},
      {"busy and nobody waits",
       [&](Machine& m) {
         busy(m);
         m.counter_becomes("node_pressure_cpu_waiting_seconds_total", 0.1);
       },
       ""},
      {"a hog beside a web server",
       [&](Machine& m) {
         busy(m);
         m.counter_becomes(fmt::format(R"(vitald_owner_wait_seconds_total{{cause="contention", {}}})", kOwnerWeb), 0.9);
       },
       "cpu_contended host {}; cpu_contended owner " + web},
      {"a limit of CPU, on a calm host",
       [](Machine& m) {
         m.counter_becomes("node_pressure_cpu_waiting_seconds_total", 0.9);  // it cannot tell limits from neighbours
         m.counter_becomes(fmt::format(R"(vitald_owner_wait_seconds_total{{cause="throttled", {}}})", kOwnerHog), 3);
       },
       "throttled owner " + hog},
      {"steal",
       [](Machine& m) {
         m.counter_becomes(R"(node_cpu_seconds_total{cpu="0", mode="steal"})", 0.5);
         m.counter_becomes(R"(node_cpu_seconds_total{cpu="0", mode="idle"})", 0.3);
       },
       "stolen host {}"},
      {"a guest whose CPUs wait",
       [](Machine& m) {
         m.counter(R"(libvirt_domain_vcpu_delay_seconds_total{domain="db", vcpu="0"})", 0);
         m.counter_becomes(R"(libvirt_domain_vcpu_delay_seconds_total{domain="db", vcpu="0"})", 0.6);
       },
       R"(stolen guest {domain="db"})"},
      {"a guest of KVM whose CPUs wait, and one that has what it wants",
       [](Machine& m) {
         for (const auto* guest : {"db", "web"})
           m.counter(
               fmt::format(R"(vitald_owner_vcpu_wait_seconds_sum{{owner_kind="guest", owner="{0}", guest="{0}"}})",
                           guest),
               0.01);
         m.counter_becomes(R"(vitald_owner_vcpu_wait_seconds_sum{owner_kind="guest", owner="db", guest="db"})", 0.6);
       },
       R"(stolen guest {guest="db", owner="db", owner_kind="guest"})"},
      {"a hot GPU beside one that is at its power limit",
       [](Machine& m) {
         m.gauge(R"(vitald_gpu_throttled{UUID="a", gpu="0", reason="hw_thermal"})", 0);
         m.gauge(R"(vitald_gpu_throttled{UUID="b", gpu="1", reason="sw_power_cap"})", 1);
         m.gauge(R"(vitald_gpu_throttled{UUID="b", gpu="1", reason="hw_thermal"})", 0);
         m.gauge_becomes(R"(vitald_gpu_throttled{UUID="a", gpu="0", reason="hw_thermal"})", 1);
       },
       R"(thermal host {UUID="a", gpu="0"})"},
      {"an fsync storm: one disk never rests", [&](Machine& m) { io(m, 0.97, 2); }, R"(io_device host {device="sdb"})"},
      {"a deep line before a fast disk", [&](Machine& m) { io(m, 0.6, 20); }, R"(io_queue host {device="sdb"})"},
      {"a busy disk that nobody waits for",
       [&](Machine& m) {
         io(m, 0.97, 2);
         m.counter_becomes("node_pressure_io_waiting_seconds_total", 0.05);
       },
       ""},
      {"failed requests",
       [](Machine& m) {
         m.counter(R"(vitald_block_errors_total{device="sda", operation="read"})", 0);
         m.counter_becomes(R"(vitald_block_errors_total{device="sda", operation="read"})", 0.1);
       },
       R"(io_error host {device="sda"})"},
      {"memory squeeze of the host",
       [](Machine& m) {
         m.counter_becomes("node_pressure_memory_waiting_seconds_total", 0.4);
         m.gauge_becomes("node_memory_MemAvailable_bytes", 0.4e9);
       },
       "memory_reclaim host {}"},
      {"memory squeeze by a limit",
       [](Machine& m) {
         m.counter_becomes("node_pressure_memory_waiting_seconds_total", 0.4);
         m.counter_becomes(fmt::format("vitald_owner_memory_limit_reclaim_seconds_total{{{}}}", kOwnerHog), 0.6);
       },
       "memory_reclaim owner " + hog},
      {"swap", [](Machine& m) { m.counter_becomes("node_vmstat_pswpin", 900); }, "swap host {}"},
      {"an OOM kill", [](Machine& m) { m.counter_becomes("node_vmstat_oom_kill", 0.02); }, "oom host {}"},
      {"an OOM kill of an owner that had none before",
       [](Machine& m) { m.comes(fmt::format("vitald_owner_oom_kills_total{{{}}}", kOwnerHog), 1); },
       "oom owner " + hog},
      {"one more OOM kill of an owner",
       [](Machine& m) {
         m.counter(fmt::format("vitald_owner_oom_kills_total{{{}}}", kOwnerHog), 0);
         m.counter_becomes(fmt::format("vitald_owner_oom_kills_total{{{}}}", kOwnerHog), 0.01);
       },
       "oom owner " + hog},
      {"OOM kills of long ago",
       [](Machine& m) { m.counter(fmt::format("vitald_owner_oom_kills_total{{{}}}", kOwnerHog), 0); }, ""},
      {"the first failed request",
       [](Machine& m) { m.comes(R"(vitald_block_errors_total{device="sda", operation="read"})", 1); },
       R"(io_error host {device="sda"})"},
      {"packet loss at the device",
       [](Machine& m) { m.counter_becomes("node_network_receive_drop_total{device=\"eth0\"}", 50); },
       R"(net_drop host {device="eth0"})"},
      {"a reader that does not read", [](Machine& m) { m.counter_becomes("node_netstat_Udp_RcvbufErrors", 500); },
       "net_drop host {}"},
      {"loss on the way", [](Machine& m) { m.counter_becomes("node_netstat_Tcp_RetransSegs", 20); },
       "net_loss host {}"},
      {"heat", [](Machine& m) { m.gauge_becomes(R"(node_hwmon_temp_celsius{chip="coretemp", sensor="temp1"})", 99); },
       R"(thermal host {chip="coretemp", sensor="temp1"})"},
      {"heat of a sensor without a limit",
       [](Machine& m) {
         m.gauge(R"(node_hwmon_temp_celsius{chip="board", sensor="temp7"})", 40);
         m.gauge_becomes(R"(node_hwmon_temp_celsius{chip="board", sensor="temp7"})", 84);
       },
       R"(thermal host {chip="board", sensor="temp7"})"},
      {"a diode that nothing is connected to",
       [](Machine& m) { m.gauge_becomes(R"(node_hwmon_temp_celsius{chip="board", sensor="temp2"})", 127); }, ""},
      {"a power cap that is reached",
       [](Machine& m) {
         m.gauge(R"(node_hwmon_power_average_watt{chip="meter", sensor="power1"})", 150);
         m.gauge(R"(node_hwmon_power_cap_watt{chip="meter", sensor="power1"})", 300);
         m.gauge_becomes(R"(node_hwmon_power_average_watt{chip="meter", sensor="power1"})", 299);
       },
       R"(power_capped host {chip="meter", sensor="power1"})"},
      {"the cap of a chip that says what it draws now",
       [](Machine& m) {
         m.gauge(R"(node_hwmon_power_watt{chip="gpu", sensor="power1"})", 150);
         m.gauge(R"(node_hwmon_power_cap_watt{chip="gpu", sensor="power1"})", 300);
         m.gauge_becomes(R"(node_hwmon_power_watt{chip="gpu", sensor="power1"})", 299);
       },
       R"(power_capped host {chip="gpu", sensor="power1"})"},
      {"a full disk",
       [](Machine& m) { m.gauge_becomes(R"(node_filesystem_avail_bytes{mountpoint="/data", fstype="ext4"})", 1e9); },
       R"(filesystem_full host {fstype="ext4", mountpoint="/data"})"},
      {"a full disk that is for reading only",
       [](Machine& m) {
         m.gauge_becomes(R"(node_filesystem_avail_bytes{mountpoint="/data", fstype="ext4"})", 0);
         m.gauge_becomes(R"(node_filesystem_readonly{mountpoint="/data", fstype="ext4"})", 1);
       },
       ""},
      {"a fork storm", [](Machine& m) { m.counter_becomes("node_forks_total", 3000); }, "fork_storm host {}"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Machine m;
    c.fault(m);
    EXPECT_EQ(m.verdict(), c.want);
  }
}

TEST(Verdict, SinceWhenByWhomAndHowMuch) {
  Machine m;
  m.counter_becomes(fmt::format(R"(vitald_owner_wait_seconds_total{{cause="contention", {}}})", kOwnerWeb), 0.9);
  const auto blamed = [](const char* culprit) {
    return fmt::format(R"(vitald_owner_blamed_wait_seconds_total{{culprit_kind="unit", culprit="{}", {}}})", culprit,
                       kOwnerWeb);
  };
  m.counter(blamed("hog.service"), 0.01);
  m.counter_becomes(blamed("hog.service"), 0.8);
  m.counter(blamed("cron.service"), 0.05);
  m.verdict();
  const auto& o = m.bad("cpu_contended");
  ASSERT_EQ(o.numbers.size(), 1U);
  EXPECT_NEAR(o.numbers[0].value, 0.9, 0.001);
  EXPECT_EQ(o.numbers[0].condition->threshold, 0.5);
  // The rate passes 0.5 when it has seen half of a minute of it.
  EXPECT_NEAR(static_cast<double>(o.since_ms - kBegin) / 1e3, 35, 20);
  EXPECT_FALSE(o.since_at_least);
  ASSERT_EQ(o.culprits.size(), 2U);
  EXPECT_EQ(o.culprits[0].labels.get("culprit"), "hog.service");
  EXPECT_NEAR(o.culprits[0].value, 0.8, 0.001);
}

TEST(Verdict, WhatIsCountedIsWhole) {
  Machine m;
  m.without("node_vmstat_oom_kill");
  m.gauge("node_vmstat_oom_kill", 7);
  m.gauge_becomes("node_vmstat_oom_kill", 8);
  m.comes(fmt::format("vitald_owner_oom_kills_total{{{}}}", kOwnerHog), 3);
  m.verdict(kNow - kStep);
  ASSERT_FALSE(m.result("oom").shown.empty());
  EXPECT_EQ(m.result("oom").shown[0].numbers.at(0).value, 1);
  ASSERT_FALSE(m.result("oom_owner").shown.empty());
  EXPECT_EQ(m.result("oom_owner").shown[0].numbers.at(0).value, 3);
}

// Thirty owners are worse than the one that is asked for.
TEST(Verdict, OnlyWhatIsAskedForCounts) {
  Machine m;
  const auto waits = [](const std::string& owner) {
    return fmt::format(R"(vitald_owner_wait_seconds_total{{cause="throttled", owner_kind="unit", owner="{}"}})", owner);
  };
  for (int i = 0; i < 30; ++i) m.counter_becomes(waits(fmt::format("worse{:02}", i)), 5);
  m.counter_becomes(waits("web.service"), 1);
  const auto owner = [](std::string_view name) {
    return [name](const Labels& object) { return object.get("owner") == name; };
  };
  EXPECT_EQ(m.verdict(kNow, owner("web.service")), R"(throttled owner {owner="web.service", owner_kind="unit"})");
  EXPECT_EQ(m.result("throttled").objects, 1U);
  EXPECT_TRUE(m.result("swap").others);
  EXPECT_TRUE(m.result("thermal").others) << "without any series it says nothing of an owner either";
  EXPECT_TRUE(m.result("oom_owner").others) << "optional: without its series there is no such thing";
  EXPECT_EQ(m.verdict(kNow, owner("hog.service")), "");
  EXPECT_EQ(m.result("throttled").state, VerdictState::ok);
  EXPECT_EQ(m.verdict(kNow, owner("nosuch")), "");
  for (const auto& r : m.results) EXPECT_EQ(r.state, VerdictState::unknown) << r.rule->id;
}

// What should be there and is not could be of the owner that is asked for: nobody may take that for well.
TEST(Verdict, WhatIsMissingIsNotHidden) {
  Machine m;
  m.without("vitald_owner_memory_limit_reclaim_seconds_total");
  const auto asked = [](const Labels& object) { return object.get("owner") == "web.service"; };
  m.verdict(kNow, asked);
  const auto& r = m.result("memory_reclaim_owner");
  EXPECT_FALSE(r.others);
  EXPECT_EQ(r.state, VerdictState::unknown);
  EXPECT_NE(r.why.find("there is no series vitald_owner_memory_limit_reclaim_seconds_total"), std::string::npos)
      << r.why;
  // Of the host it says nothing; what misses a series of the host does.
  Machine h;
  h.without("node_vmstat_pswpin");
  h.without("vitald_owner_memory_limit_reclaim_seconds_total");
  h.verdict(kNow, [](const Labels& object) { return object.get("owner").empty(); });
  EXPECT_FALSE(h.result("swap").others);
  EXPECT_TRUE(h.result("memory_reclaim_owner").others);
}

TEST(Verdict, WhatLastsLongerThanTheHistorySaysSo) {
  Machine m;
  m.gauge(R"(node_hwmon_temp_celsius{chip="coretemp", sensor="temp1"})", 99);
  m.verdict();
  const auto& o = m.bad("thermal");
  EXPECT_TRUE(o.since_at_least);
  EXPECT_LT(o.since_ms, 60'000);
}

TEST(Verdict, WithoutItsSeriesItSaysUnknownAndWhy) {
  Machine m;
  m.without("vitald_owner_wait_seconds_total");
  m.without("node_pressure");
  m.counter_becomes("node_disk_io_time_seconds_total{device=\"sdb\"}", 0.99);
  EXPECT_EQ(m.verdict(), "");
  EXPECT_EQ(m.result("throttled").state, VerdictState::unknown);
  EXPECT_EQ(m.result("throttled").why, "there is no series vitald_owner_wait_seconds_total{cause=\"throttled\"}");
  EXPECT_EQ(m.result("io_device").state, VerdictState::ok) << "sda does rest, whatever tasks wait for";
  EXPECT_EQ(m.result("cpu_contended").state, VerdictState::unknown);
  EXPECT_TRUE(m.result("power_capped").absent) << "a host without a cap cannot be at it";
  // Two samples make a rate, one makes none.
  Machine young;
  EXPECT_EQ(young.verdict(0), "");
  EXPECT_EQ(young.result("swap").state, VerdictState::unknown);
  EXPECT_EQ(young.result("swap").why, "too few samples yet for rate(node_vmstat_pswpin[1m])");
}

TEST(Verdict, AFileThatIsNotGoodIsToldWhere) {
  struct Case {
    const char *name, *yaml, *want;
  };
  const Case cases[] = {
      {"nothing", "", "v.yaml:1:1: nothing in it, expected verdicts: [...]"},
      {"a typo", "verdicts:\n  - {verdict: x, resource: cpu, says: y, wen: []}",
       "v.yaml:2:42: unknown key 'wen', expected 'when'?"},
      {"both ways",
       "verdicts:\n  - {verdict: x, resource: cpu, says: y, when: [{what: a, expr: b, above: 1, below: 2}]}",
       "v.yaml:2:49: expected either 'above' or 'below', a number"},
      {"no number", "verdicts:\n  - {verdict: x, resource: cpu, says: y, when: [{what: a, expr: b, above: much}]}",
       "v.yaml:2:75: 'much' is not a number, expected e.g. 0.3"},
      {"twice",
       "verdicts:\n  - {verdict: x, resource: cpu, says: y, when: [{what: a, expr: b, above: 1}]}\n"
       "  - {verdict: x, resource: cpu, says: y, when: [{what: a, expr: b, above: 1}]}",
       "v.yaml:3:5: the rule 'x' is there twice, expected an id of its own for each"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    std::vector<std::string> problems;
    load_verdicts(c.yaml, "v.yaml", problems);
    EXPECT_NE(std::ranges::find(problems, c.want), problems.end()) << fmt::format("{}", fmt::join(problems, "\n"));
  }
  std::vector<std::string> problems;
  load_verdicts(
      "verdicts:\n  - {verdict: x, resource: cpu, says: y, when: [{what: a, expr: 'rate(b[$window)', above: 1}]}",
      "v.yaml", problems);
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_TRUE(problems[0].starts_with("v.yaml:2:65: expr: ")) << problems[0];
}

}  // namespace
}  // namespace vitald
