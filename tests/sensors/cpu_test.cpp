// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "tests/sensors/run_collector.h"

namespace vitald {

namespace {

std::string row(int cpu, int idle, int user = 100) {
  return "cpu" + std::to_string(cpu) + " " + std::to_string(user) + " 0 0 " + std::to_string(idle) + " 0 0 0 0 0 0\n";
}

}  // namespace

TEST(Cpu, Columns) {
  struct Case {
    const char *name, *file, *text, *error;
  };
  const Case cases[] = {
      {"all ten", "cpu  1 1 1 1 1 1 1 1 1 1\ncpu3 78240 19 63145 1610313 220 1 6860 5 2 1\nintr 1\n",
       "node_cpu_seconds_total{cpu=\"3\",mode=\"user\"} 782.4\nnode_cpu_seconds_total{cpu=\"3\",mode=\"nice\"} 0.19\n"
       "node_cpu_seconds_total{cpu=\"3\",mode=\"system\"} 631.45\n"
       "node_cpu_seconds_total{cpu=\"3\",mode=\"idle\"} 16103.13\n"
       "node_cpu_seconds_total{cpu=\"3\",mode=\"iowait\"} 2.2\nnode_cpu_seconds_total{cpu=\"3\",mode=\"irq\"} 0.01\n"
       "node_cpu_seconds_total{cpu=\"3\",mode=\"softirq\"} 68.6\n"
       "node_cpu_seconds_total{cpu=\"3\",mode=\"steal\"} 0.05\n"
       "node_cpu_guest_seconds_total{cpu=\"3\",mode=\"user\"} 0.02\n"
       "node_cpu_guest_seconds_total{cpu=\"3\",mode=\"nice\"} 0.01\n",
       ""},
      {"fewer from an older kernel: what is missing is missing, not 0", "cpu0 100 0 0 300\n",
       "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 1\nnode_cpu_seconds_total{cpu=\"0\",mode=\"nice\"} 0\n"
       "node_cpu_seconds_total{cpu=\"0\",mode=\"system\"} 0\nnode_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 3\n",
       ""},
      {"a torn number and a name without one", "cpu0 1x\ncpux 5\ncpu1 700\n",
       "node_cpu_seconds_total{cpu=\"1\",mode=\"user\"} 7\n",
       "malformed: /proc/stat: 'cpu0 1x': 'cpuN' and up to 10 numbers expected (and 1 more)"},
      {"too large", "cpu0 18446744073709551616\n", "",
       "malformed: /proc/stat: 'cpu0 18446744073709551616': 'cpuN' and up to 10 numbers expected"},
      {"empty", "", "", "malformed: /proc/stat: '': lines 'cpuN' and numbers expected"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = run_collector("cpu", {{"proc/stat", c.file}});
    EXPECT_EQ(got.text, c.text);
    EXPECT_EQ(got.error, c.error);
  }
  const auto more = run_collector("cpu", {{"proc/stat", "cpu0 1 2 3 4 5 6 7 8 9 10 11 12\n"}});
  EXPECT_EQ(lines_with(more.text, "guest"),
            "node_cpu_guest_seconds_total{cpu=\"0\",mode=\"user\"} 0.09\n"
            "node_cpu_guest_seconds_total{cpu=\"0\",mode=\"nice\"} 0.1\n");
  EXPECT_EQ(more.error, "");
  EXPECT_EQ(
      lines_with(run_collector("cpu", {{"proc/stat", row(0, 1)}}, {{"collector.cpu.guest", "false"}}).text, "guest"),
      "");
}

TEST(Cpu, CountersThatRunBackwards) {
  struct Step {
    const char* name;
    std::string file;
    const char* text;  // idle and user
  };
  const Step steps[] = {
      {"start", row(0, 10000), "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 100\n"},
      {"two ticks back: held", row(0, 9998), "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 100\n"},
      {"2.99 s back: held", row(0, 9701), "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 100\n"},
      {"passed again", row(0, 10001), "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 100.01\n"},
      {"3 s back: the CPU was taken out, it starts again", row(0, 9701),
       "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 97.01\n"},
  };
  CollectorFixture f("cpu");
  for (const auto& s : steps) {
    SCOPED_TRACE(s.name);
    f.write("proc/stat", s.file);
    EXPECT_EQ(lines_with(f.run().text, "idle"), s.text);
  }
  f.write("proc/stat", row(0, 9701, 50));
  EXPECT_EQ(lines_with(f.run().text, "\"user\"} "),
            "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 1\n"
            "node_cpu_guest_seconds_total{cpu=\"0\",mode=\"user\"} 0\n");
  f.write("proc/stat", row(0, 9000, 50));  // a restart takes all its counters along
  EXPECT_EQ(lines_with(f.run().text, "seconds_total{cpu=\"0\",mode=\"user\"} 0.5"),
            "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 0.5\n");
}

TEST(Cpu, OfflineAndBack) {
  CollectorFixture f("cpu", {{"proc/stat", row(0, 100) + row(1, 200) + row(2, 300)}});
  f.run();
  f.write("proc/stat", row(0, 99) + row(2, 299));
  EXPECT_EQ(lines_with(f.run().text, "idle"),
            "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 1\nnode_cpu_seconds_total{cpu=\"2\",mode=\"idle\"} 3\n");
  f.write("proc/stat", row(0, 101) + row(1, 5) + row(2, 301));
  EXPECT_EQ(
      lines_with(f.run().text, "idle"),
      "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 1.01\nnode_cpu_seconds_total{cpu=\"1\",mode=\"idle\"} 0.05\n"
      "node_cpu_seconds_total{cpu=\"2\",mode=\"idle\"} 3.01\n");
}

namespace {
const std::string kCpus = "sys/devices/system/cpu/";
void add_cpu(Tree& tree, int cpu, const char* package, const char* core, const char* core_count,
             const char* package_count) {
  const auto folder = kCpus + "cpu" + std::to_string(cpu);
  tree[folder + "/topology/physical_package_id"] = package;
  tree[folder + "/topology/core_id"] = core;
  if (*core_count) tree[folder + "/thermal_throttle/core_throttle_count"] = core_count;
  if (*package_count) tree[folder + "/thermal_throttle/package_throttle_count"] = package_count;
}
}  // namespace

TEST(Cpu, Throttles) {
  Tree tree = {{"proc/stat", ""}, {kCpus + "online", "0-3\n"}, {kCpus + "cpufreq/boost", "1\n"}};
  add_cpu(tree, 0, "0\n", "0\n", "5\n", "30\n");
  add_cpu(tree, 1, "0", "0", "77", "88");  // the sibling speaks for both
  add_cpu(tree, 2, "0", "1", "9", "88");
  add_cpu(tree, 3, "1", "0", "", "");     // no counters
  add_cpu(tree, 10, "1", "0", "4", "6");  // its sibling has them
  add_cpu(tree, 11, "x", "0", "4", "6");
  CollectorFixture f("cpu", tree);
  const std::string packages =
      "node_cpu_package_throttles_total{package=\"0\"} 30\nnode_cpu_package_throttles_total{package=\"1\"} 6\n";
  EXPECT_EQ(f.run().text, packages +
                              "node_cpu_core_throttles_total{core=\"0\",package=\"0\"} 5\n"
                              "node_cpu_core_throttles_total{core=\"0\",package=\"1\"} 4\n"
                              "node_cpu_core_throttles_total{core=\"1\",package=\"0\"} 9\n");
  f.write(kCpus + "cpu0/thermal_throttle/core_throttle_count", "6\n");
  EXPECT_EQ(lines_with(f.run().text, "core=\"0\",package=\"0\""),
            "node_cpu_core_throttles_total{core=\"0\",package=\"0\"} 6\n");
  f.remove(kCpus + "cpu2");
  f.write(kCpus + "online", "0-1,3\n");
  EXPECT_EQ(lines_with(f.run().text, "core=\"1\""), "");
}

TEST(Cpu, OnlineAndIsolated) {
  Tree tree = {{"proc/stat", ""},
               {kCpus + "online", "0,2\n"},
               {kCpus + "present", "0-2\n"},
               {kCpus + "cpu0/online", "1\n"},
               {kCpus + "cpu1/online", "0\n"},
               {kCpus + "cpu2/online", "1\n"},
               {kCpus + "isolated", "1,3-5,9\n"}};
  CollectorFixture f("cpu", tree);
  const std::string isolated =
      "node_cpu_isolated{cpu=\"1\"} 1\nnode_cpu_isolated{cpu=\"3\"} 1\nnode_cpu_isolated{cpu=\"4\"} 1\n"
      "node_cpu_isolated{cpu=\"5\"} 1\nnode_cpu_isolated{cpu=\"9\"} 1\n";
  EXPECT_EQ(f.run().text, isolated +
                              "node_cpu_online{cpu=\"0\"} 1\nnode_cpu_online{cpu=\"1\"} 0\n"
                              "node_cpu_online{cpu=\"2\"} 1\n");
  f.write(kCpus + "cpu1/online", "1\n");
  f.write(kCpus + "online", "0-2\n");
  EXPECT_EQ(lines_with(f.run().text, "online{cpu=\"1\"}"), "node_cpu_online{cpu=\"1\"} 1\n");

  tree.erase(kCpus + "cpu0/online");  // x86 since Linux 6.5: it cannot be taken out
  tree[kCpus + "present"] = "0-2\n";
  tree[kCpus + "cpu0/topology/core_id"] = "0\n";
  tree[kCpus + "isolated"] = "\n";
  EXPECT_EQ(run_collector("cpu", tree).text,
            "node_cpu_online{cpu=\"0\"} 1\nnode_cpu_online{cpu=\"1\"} 0\nnode_cpu_online{cpu=\"2\"} 1\n");
  for (const std::string bad : {"3-1", "18446744073709551615", "18446744073709551614-18446744073709551615"}) {
    tree[kCpus + "isolated"] = bad + "\n";
    EXPECT_EQ(run_collector("cpu", tree).problems,
              std::vector<std::string>{"malformed: /sys/devices/system/cpu/isolated: '" + bad +
                                       "': a list like 1,3-5 expected"});
  }
}

// Without its frequencies cpuinfo is not made at each scrape; microcode that is loaded late changes it all the same.
TEST(Cpu, MicrocodeThatIsLoadedLater) {
  const auto text = [](const char* microcode) {
    return std::string("processor\t: 0\nmicrocode\t: ") + microcode + "\n\n";
  };
  CollectorFixture f("cpu",
                     {{"proc/stat", "cpu  1 0 0 0 0 0 0 0 0 0\n"},
                      {"proc/cpuinfo", text("0x1")},
                      {"sys/devices/system/cpu/online", "0\n"}},
                     {{"collector.cpu.info", "true"}, {"collector.cpufreq", "false"}});
  EXPECT_NE(f.run().text.find("microcode=\"0x1\""), std::string::npos);
  f.write("proc/cpuinfo", text("0x2"));
  f.clock.advance_ns(60'000'000'000);
  EXPECT_NE(f.run().text.find("microcode=\"0x2\""), std::string::npos);
}

TEST(Cpu, Info) {
  const std::string block =
      "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 142\n"
      "model name\t: Intel(R) Core(TM) i5-6500 CPU @ 3.20GHz\nstepping\t: 10\nmicrocode\t: 0xb4\ncpu MHz\t\t: "
      "1600.125\n"
      "cache size\t: 6144 KB\nphysical id\t: 0\nsiblings\t: 8\ncore id\t\t: 3\nflags\t\t: fpu vme aes avx avx2\n"
      "bugs\t\t: cpu_meltdown spectre_v1 mds\n\n";
  const std::string info =
      "node_cpu_info{cachesize=\"6144 KB\",core=\"3\",cpu=\"0\",family=\"6\",microcode=\"0xb4\",model=\"142\","
      "model_name=\"Intel(R) Core(TM) i5-6500 CPU @ 3.20GHz\",package=\"0\",stepping=\"10\",vendor=\"GenuineIntel\"} "
      "1\n"
      "node_cpu_frequency_hertz{core=\"3\",cpu=\"0\",package=\"0\"} 1600125000\n";
  struct Case {
    const char* name;
    std::string file;
    FlagValues flags;
    std::string text, error;
  };
  const Case cases[] = {
      {"off unless asked for", block, {}, "", ""},
      {"on", block, {{"collector.cpu.info", "true"}}, info, ""},
      {"frequencies go with cpufreq",
       block,
       {{"collector.cpu.info", "true"}, {"collector.cpufreq", "false"}},
       info.substr(0, info.find("node_cpu_frequency")),
       ""},
      {"and with the defaults",
       block,
       {{"collector.cpu.info", "true"}, {"collector.disable-defaults", "true"}},
       info.substr(0, info.find("node_cpu_frequency")),
       ""},
      {"cpufreq asked for",
       block,
       {{"collector.cpu.info", "true"}, {"collector.disable-defaults", "true"}, {"collector.cpufreq", "true"}},
       info,
       ""},
      {"a pattern switches it on",
       block,
       {{"collector.cpu.info.flags-include", "^avx.?$"}},
       info + "node_cpu_flag_info{flag=\"avx\"} 1\nnode_cpu_flag_info{flag=\"avx2\"} 1\n",
       ""},
      {"flags of the first processor only",
       block + block.substr(0, 12) + "1\nbugs : mds l1tf\n",
       {{"collector.cpu.info.bugs-include", "mds|l1tf"}},
       info + "node_cpu_bug_info{bug=\"mds\"} 1\n"
              "node_cpu_info{cachesize=\"\",core=\"\",cpu=\"1\",family=\"\",microcode=\"\",model=\"\",model_name=\"\","
              "package=\"\",stepping=\"\",vendor=\"\"} 1\n",
       ""},
      {"arm64",
       "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd aes\nCPU implementer\t: 0x41\n\nHardware\t: x\n",
       {{"collector.cpu.info.flags-include", "aes"}},
       "node_cpu_info{cachesize=\"\",core=\"\",cpu=\"0\",family=\"\",microcode=\"\",model=\"\",model_name=\"\","
       "package=\"\",stepping=\"\",vendor=\"\"} 1\nnode_cpu_flag_info{flag=\"aes\"} 1\n",
       ""},
      {"s390x: what is said of all, then the CPUs",
       "vendor_id       : IBM/S390\n# processors    : 2\nfeatures\t: esan3 zarch vx \ncache0          : level=1 "
       "type=Data\n"
       "processor 0: version = FF,  identification = 2733E8,  machine = 2964\n"
       "processor 1: version = FF,  identification = 2733E8,  machine = 2964\n"
       "\ncpu number      : 0\nphysical id     : 2\ncore id         : 4\ncpu MHz dynamic : 5000\ncpu MHz static  : "
       "5208\n"
       "\ncpu number      : 1\nphysical id     : 2\ncore id         : 5\ncpu MHz dynamic : 5000\n",
       {{"collector.cpu.info.flags-include", "vx"}},
       "node_cpu_info{cachesize=\"\",core=\"4\",cpu=\"0\",family=\"\",microcode=\"\",model=\"\",model_name=\"\","
       "package=\"2\",stepping=\"\",vendor=\"IBM/S390\"} 1\n"
       "node_cpu_frequency_hertz{core=\"4\",cpu=\"0\",package=\"2\"} 5000000000\n"
       "node_cpu_flag_info{flag=\"vx\"} 1\n"
       "node_cpu_info{cachesize=\"\",core=\"5\",cpu=\"1\",family=\"\",microcode=\"\",model=\"\",model_name=\"\","
       "package=\"2\",stepping=\"\",vendor=\"IBM/S390\"} 1\n"
       "node_cpu_frequency_hertz{core=\"5\",cpu=\"1\",package=\"2\"} 5000000000\n",
       ""},
      {"s390x before Linux 4.12",
       "vendor_id       : IBM/S390\n# processors    : 2\nfeatures\t: esan3 zarch\n"
       "processor 0: version = FF,  identification = 2733E8,  machine = 2964\n"
       "processor 1: version = FF,  identification = 2733E8,  machine = 2964\n",
       {{"collector.cpu.info", "true"}},
       "node_cpu_info{cachesize=\"\",core=\"\",cpu=\"0\",family=\"\",microcode=\"\",model=\"\",model_name=\"\",package="
       "\"\",stepping=\"\",vendor=\"IBM/S390\"} 1\n"
       "node_cpu_info{cachesize=\"\",core=\"\",cpu=\"1\",family=\"\",microcode=\"\",model=\"\",model_name=\"\",package="
       "\"\",stepping=\"\",vendor=\"IBM/S390\"} 1\n",
       ""},
      {"loongarch64",
       "system type\t\t: generic-loongson-machine\n\nprocessor\t\t: 0\npackage\t\t\t: 1\ncore\t\t\t: 3\n"
       "CPU Family\t\t: Loongson-64bit\nModel Name\t\t: Loongson-3A5000\nCPU MHz\t\t\t: 2500.00\n"
       "Features\t\t: cpucfg lsx\n\n",
       {{"collector.cpu.info.flags-include", "lsx"}},
       "node_cpu_info{cachesize=\"\",core=\"3\",cpu=\"0\",family=\"Loongson-64bit\",microcode=\"\",model=\"\",model_"
       "name=\"Loongson-3A5000\",package=\"1\",stepping=\"\",vendor=\"generic-loongson-machine\"} 1\n"
       "node_cpu_frequency_hertz{core=\"3\",cpu=\"0\",package=\"1\"} 2500000000\n"
       "node_cpu_flag_info{flag=\"lsx\"} 1\n",
       ""},
      {"mips",
       "system type\t\t: MediaTek MT7621\nmachine\t\t\t: Ubiquiti\nprocessor\t\t: 0\ncpu model\t\t: MIPS 1004Kc V2.15\n"
       "core\t\t\t: 1\npackage\t\t\t: 0\n\n",
       {{"collector.cpu.info", "true"}},
       "node_cpu_info{cachesize=\"\",core=\"1\",cpu=\"0\",family=\"\",microcode=\"\",model=\"\",model_name=\"MIPS "
       "1004Kc V2.15\",package=\"0\",stepping=\"\",vendor=\"MediaTek MT7621\"} 1\n",
       ""},
      {"no processor",
       "vendor_id: x\n",
       {{"collector.cpu.info", "true"}},
       "",
       "malformed: /proc/cpuinfo: 'vendor_id: x': a 'processor' line expected"},
      {"not a number",
       "processor : zero\n",
       {{"collector.cpu.info", "true"}},
       "",
       "malformed: /proc/cpuinfo: 'processor: zero': a number expected"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    CollectorFixture f("cpu", {{"proc/stat", "cpu 1\n"}, {"proc/cpuinfo", c.file}}, c.flags);
    for (int run = 0; run < 2; ++run) {
      const auto got = f.run();
      EXPECT_EQ(got.text, c.text);
      EXPECT_EQ(got.error, c.error);
    }
  }
}

TEST(Cpu, NoFile) { EXPECT_EQ(run_collector("cpu", {}).error, "gone: /proc/stat: No such file or directory (ENOENT)"); }

}  // namespace vitald
