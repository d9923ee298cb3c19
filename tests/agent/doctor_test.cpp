// SPDX-License-Identifier: Apache-2.0
#include "agent/doctor.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/os/privileges.h"

namespace vitald {
namespace {

using State = CollectorStatus::State;

constexpr MetricDesc kUp{"vitald_probe_up", MetricType::gauge, "h", "probe,hook,reason"};

// The lines about collectors and probes; what is said of the machine before them is this machine's.
std::string about(const std::vector<CollectorStatus>& collectors, const Snapshot* snapshot = nullptr,
                  const std::vector<std::string>& problems = {}) {
  const Host host;
  const StateCheck state{true, true, "/var/lib/vitald"};
  const auto found = diagnose({host, collectors, snapshot, state, problems});
  EXPECT_EQ(found.good, found.text.find("  FIX ") == std::string::npos) << found.text;
  return found.text.substr(found.text.find("Collectors\n"));
}

CollectorStatus status(std::string name, State state, std::string text = {}) {
  CollectorStatus row;
  row.name = std::move(name);
  row.state = state;
  row.text = std::move(text);
  return row;
}
CollectorStatus by_name(CollectorStatus row) {
  row.by_name = true;
  return row;
}
CollectorStatus without(CollectorStatus row, std::vector<std::string> items) {
  row.left_out = std::move(items);
  return row;
}

TEST(Doctor, Collectors) {
  struct Case {
    const char* name;
    CollectorStatus row;
    std::string want;
  };
  const Case cases[] = {
      {"on", status("stat", State::on), "  ok    stat\n"},
      {"on, with a word", status("libvirt", State::on, "worker process 7"),
       "  ok    libvirt        worker process 7\n"},
      {"off", status("arp", State::off, "--no-collector.arp"), "  note  arp            off: --no-collector.arp\n"},
      {"this machine has none", status("nvme", State::unavailable, "no nvme"), "  note  nvme           no nvme\n"},
      {"it has none, and it was asked for", by_name(status("nvme", State::unavailable, "no nvme")),
       "  FIX   nvme           no nvme\n"},
      {"failed", status("stat", State::failed, "line 1"), "  FIX   stat           line 1\n"},
      {"something is left out", without(status("textfile", State::on), {"/nope: No such file or directory (ENOENT)"}),
       "  FIX   textfile\n  FIX                  left out: /nope: No such file or directory (ENOENT)\n"},
      {"what its line has already",
       without(status("exec", State::failed, "1 of 3 programs good; a: b: ENOENT; c: d"),
               {"a: b: ENOENT", "c: d", "e: f"}),
       "  FIX   exec           1 of 3 programs good; a: b: ENOENT; c: d\n  FIX                  left out: e: f\n"},
      {"much is left out", without(status("xfs", State::on), {"a", "b", "c", "d", "e", "f", "g"}),
       "  FIX   xfs\n  FIX                  left out: a\n  FIX                  left out: b\n"
       "  FIX                  left out: c\n  FIX                  left out: d\n  FIX                  left out: e\n"
       "  FIX                  and 2 more; the log has all\n"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(about({c.row}), "Collectors\n" + c.want + "Probes\n");
  }
}

// The configuration says with its place that there is no such program, and why another one fails only its collector.
TEST(Doctor, AProgramThatIsNotThereIsToldOnce) {
  const std::string gone = "a: /x: exec: No such file or directory (ENOENT)", fails = "b: exit status 1";
  const auto exec = [](std::string text, std::vector<std::string> items) {
    return without(status("exec", State::on, std::move(text)), std::move(items));
  };
  const std::vector<std::string> told{
      "v.yaml:2:5: exec 'a': /x: No such file or directory (ENOENT), expected a program"};
  EXPECT_EQ(about({exec("1 of 2 programs good; " + gone, {gone})}, nullptr, told),
            "Collectors\n  note  exec           1 of 2 programs good; of others Configuration says why\nProbes\n");
  EXPECT_EQ(about({exec("0 of 2 programs good; " + gone + "; " + fails, {gone, fails})}, nullptr, told),
            "Collectors\n  FIX   exec           0 of 2 programs good; " + fails +
                "; of others Configuration says why\nProbes\n");
}

TEST(Doctor, ProbesThatAreDown) {
  BatchWriter writer("probes");
  writer.begin(1);
  writer.set(kUp, 1, "runq_latency", "tp_btf", "");
  writer.set(kUp, 0, "oom_kills", "off", "no CAP_BPF");
  Snapshot snapshot;
  snapshot.batches = {writer.finish({}, 0, 0)};
  const auto probe = [](std::string name, std::string text) {
    auto row = status(std::move(name), State::on, std::move(text));
    row.folder = "bpf";
    return row;
  };
  EXPECT_EQ(about({probe("oom_kills", "off: no CAP_BPF"), probe("runq_latency", "attached, tp_btf")}, &snapshot),
            "Collectors\nProbes\n  FIX   oom_kills      off: no CAP_BPF\n  ok    runq_latency   attached, tp_btf\n");
}

// Whose a GPU of AMD or Intel is takes a capability that nobody else wants.
TEST(Doctor, WithoutTheRightToLookAtOthersFilesOfGpus) {
  const auto child = fork();
  if (child == 0) {
    if (!give_up_privileges(false)) _exit(2);
    const Host host;
    const StateCheck kept{true, true, "x"};
    const auto told = [&](const std::vector<CollectorStatus>& collectors) {
      return diagnose({host, collectors, nullptr, kept}).text.find("  note  CAP_SYS_PTRACE missing: ") !=
             std::string::npos;
    };
    _exit(told({status("drm_gpus", State::on)}) && !told({status("drm_gpus", State::off)}) &&
                  !told({status("drm_gpus", State::unavailable)})
              ? 0
              : 1);
  }
  int ended = 0;
  ASSERT_EQ(waitpid(child, &ended, 0), child);
  EXPECT_EQ(ended, 0);
}

// /sys/block/sdb/device is a link into the tree of devices, where the SAS transport has an end device.
TEST(Doctor, SasDisksAreNamed) {
  const auto root = std::filesystem::path(fmt::format("{}/doctor_test_{}", testing::TempDir(), getpid()));
  const auto disk = [&](const std::string& name, const std::string& place, const std::string& vendor) {
    const auto device = root / "devices" / place;
    std::filesystem::create_directories(device);
    std::filesystem::create_directories(root / "block" / name);
    std::ofstream(device / "vendor") << vendor << "\n";
    std::filesystem::create_symlink(device, root / "block" / name / "device");
  };
  disk("sda", "pci/host0/port-0:0/end_device-0:0/target0:0:0/0:0:0:0", "ATA     ");
  disk("sdb", "pci/host0/port-0:1/end_device-0:1/target0:0:1/0:0:1:0", "SEAGATE ");
  disk("sdc", "pci/usb1/host1/target1:0:0/1:0:0:0", "SanDisk ");
  disk("sdd", "pci/host0/port-0:2/end_device-0:2/target0:0:2/0:0:2:0", "HGST    ");
  const StateCheck kept{true, true, "x"};
  const auto told = [&] { return diagnose({Host({"/proc", root, "/", ""}), {}, nullptr, kept}).text; };
  EXPECT_THAT(told(), testing::HasSubstr("  note  SMART          sdb, sdd: SAS, whose health is not read"));
  for (const auto* name : {"sdb", "sdd"}) std::filesystem::remove_all(root / "block" / name);
  EXPECT_THAT(told(), testing::Not(testing::HasSubstr("  SMART ")));
  std::filesystem::remove_all(root);
}

TEST(Doctor, WhatNobodyAskedForIsNoFinding) {
  const Host host;
  for (const auto& [state, mark] : {std::pair(StateCheck{false, false, "nothing is kept"}, "note"),
                                    std::pair(StateCheck{false, true, "nothing is kept"}, "FIX "),
                                    std::pair(StateCheck{true, true, "nothing is kept"}, "ok  "),
                                    std::pair(StateCheck{true, false, "nothing is kept"}, "ok  ")})
    EXPECT_THAT(diagnose({host, {}, nullptr, state}).text,
                testing::HasSubstr(fmt::format("  {}  state          nothing is kept\n", mark)));
  // Without a probe nothing needs what probes need.
  const StateCheck kept{true, true, "x"};
  EXPECT_THAT(diagnose({host, {}, nullptr, kept}).text,
              testing::Not(testing::ContainsRegex("FIX   (CAP_BPF|CAP_PERFMON|BTF)")));
  EXPECT_THAT(diagnose({host, {}, nullptr, kept, {"x.yaml:1:2: web.max_age: no"}, {"a glob"}}).text,
              testing::HasSubstr("Configuration\n  FIX   x.yaml:1:2: web.max_age: no\n  note  a glob\n"));
  // Flags alone are only a part of what a service runs with.
  EXPECT_THAT(diagnose({host, {}, nullptr, kept}).text,
              testing::HasSubstr("  note  file           none was looked at"));
  DoctorInput with_file{host, {}, nullptr, kept};
  with_file.config_file = "/etc/x.yaml";
  EXPECT_THAT(diagnose(with_file).text, testing::HasSubstr("  ok    file           /etc/x.yaml\n"));
  for (const bool lost : {true, false})
    EXPECT_THAT(diagnose({host, {}, nullptr, kept, {}, {}, "2 entries", lost}).text,
                testing::HasSubstr(fmt::format("  {}  history.keep   2 entries\n", lost ? "note" : "ok  ")));
}

}  // namespace
}  // namespace vitald
