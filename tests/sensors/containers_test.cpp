// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <filesystem>

#include "tests/sensors/collector_cases.h"

namespace vitald {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kId(64, 'a');
const std::string kOther = std::string(63, 'b') + "0";
const std::string kUid = "0c9d2a3e-1111-2222-3333-444455556666";
const std::string kPod =
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0c9d2a3e_1111_2222_3333_444455556666.slice";
const std::string kInPod = kPod + "/cri-containerd-" + kId + ".scope";

// The files of a cgroup on v2, as kernels since 5.19 have them.
Tree v2(const std::string& path) {
  const auto folder = "sys/fs/cgroup" + path + "/";
  return {
      {"sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n"},
      {folder + "cpu.stat",
       "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_periods 40\nnr_throttled 4\nthrottled_usec "
       "300000\n"},
      {folder + "cpu.max", "50000 100000\n"},
      {folder + "cpu.weight", "39\n"},
      {folder + "memory.current", "1000000\n"},
      {folder + "memory.stat",
       "anon 400000\nfile 500000\nfile_mapped 100\ninactive_file 300000\npgfault 7\npgmajfault 2\n"},
      {folder + "memory.swap.current", "4096\n"},
      {folder + "memory.peak", "2000000\n"},
      {folder + "memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n"},
      {folder + "memory.max", "max\n"},
      {folder + "memory.swap.max", "0\n"},
      {folder + "io.stat", "8:0 rbytes=90112 wbytes=4096 rios=22 wios=1 dbytes=0 dios=0\n9:0 \n"},
      {folder + "pids.current", "5\n"},
      {folder + "pids.max", "max\n"},
      {folder + "cpu.pressure",
       "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=250000\n"},
      {"sys/dev/block/8:0/uevent", "MAJOR=8\nMINOR=0\nDEVNAME=sda\nDEVTYPE=disk\n"}};
}
Tree joined(Tree a, const Tree& b) {
  a.insert(b.begin(), b.end());
  return a;
}

TEST(Containers, Cases) {
  const auto docker = "/system.slice/docker-" + kId + ".scope";
  const auto labels = [&](const std::string& before, const std::string& id) {
    return "{" + before + "id=\"" + id + "\",name=\"" + kId + "\",owner=\"aaaaaaaaaaaa\",owner_kind=\"container\"}";
  };
  const auto all = [&](const std::string& id) {
    const auto l = labels("", id);
    return "container_cpu_usage_seconds_total" + labels("cpu=\"total\",", id) + " 2.5\n" +
           "container_cpu_user_seconds_total" + l + " 2\n" + "container_cpu_system_seconds_total" + l + " 0.5\n" +
           "container_cpu_cfs_periods_total" + l + " 40\n" + "container_cpu_cfs_throttled_periods_total" + l + " 4\n" +
           "container_cpu_cfs_throttled_seconds_total" + l + " 0.3\n" + "container_spec_cpu_quota" + l + " 50000\n" +
           "container_spec_cpu_period" + l + " 100000\n";
  };
  const auto io = [&](const std::string& id) {
    const auto l = labels("device=\"/dev/sda\",", id);
    return "container_fs_reads_bytes_total" + l + " 90112\n" + "container_fs_writes_bytes_total" + l + " 4096\n" +
           "container_fs_reads_total" + l + " 22\n" + "container_fs_writes_total" + l + " 1\n";
  };
  const auto l = labels("", docker);
  const auto faults = [&](const std::string& type) {
    auto text = labels("failure_type=\"" + type + "\",", docker);
    return text.insert(text.size() - 1, ",scope=\"hierarchy\"");
  };
  const std::string found =
      "vitald_container_cgroups 1\nvitald_container_cgroups_left_out 0\nvitald_container_cgroups_by_file 1\n";
  const auto v1_path = "/docker/" + kId;
  const auto v1 = labels("", v1_path);
  const auto v1_folder = [&](const std::string& controller) { return "sys/fs/cgroup/" + controller + v1_path + "/"; };
  check_cases(
      "containers",
      {
          {"v2", v2(docker),
           all(docker) + "container_spec_cpu_shares" + l + " 998\n" + "container_memory_usage_bytes" + l +
               " 1000000\n" + "container_memory_working_set_bytes" + l + " 700000\n" + "container_memory_rss" + l +
               " 400000\n" + "container_memory_cache" + l + " 500000\n" + "container_memory_mapped_file" + l +
               " 100\n" + "container_memory_swap" + l + " 4096\n" + "container_memory_max_usage_bytes" + l +
               " 2000000\n" + "container_memory_failcnt" + l + " 3\n" + "container_oom_events_total" + l + " 1\n" +
               "container_memory_failures_total" + faults("pgfault") + " 7\n" + "container_memory_failures_total" +
               faults("pgmajfault") + " 2\n" + "container_spec_memory_swap_limit_bytes" + l + " 0\n" +
               "container_threads" + l + " 5\n" + "container_pressure_cpu_waiting_seconds_total" + l + " 1.5\n" +
               "container_pressure_cpu_stalled_seconds_total" + l + " 0.25\n" + io(docker) + found,
           ""},
          {"v1, where the root's v2 has no controllers",
           {{"sys/fs/cgroup/unified/cgroup.controllers", ""},
            {v1_folder("cpuacct") + "cpuacct.usage", "2500000000\n"},
            {v1_folder("cpuacct") + "cpuacct.stat", "user 200\nsystem 50\n"},
            {v1_folder("cpu") + "cpu.stat", "nr_periods 40\nnr_throttled 4\nthrottled_time 300000000\n"},
            {v1_folder("cpu") + "cpu.cfs_quota_us", "50000\n"},
            {v1_folder("cpu") + "cpu.cfs_period_us", "100000\n"},
            {v1_folder("cpu") + "cpu.shares", "1024\n"},
            {v1_folder("memory") + "memory.usage_in_bytes", "1000000\n"},
            {v1_folder("memory") + "memory.stat",
             "cache 1\nrss 1\ntotal_cache 500000\ntotal_rss 400000\ntotal_inactive_file 300000\n"},
            {v1_folder("memory") + "memory.limit_in_bytes", "9223372036854771712\n"},
            {v1_folder("memory") + "memory.memsw.limit_in_bytes", "2000000\n"},
            {v1_folder("memory") + "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"},
            {v1_folder("blkio") + "blkio.throttle.io_service_bytes_recursive",
             "8:0 Read 90112\n8:0 Write 4096\n8:0 Sync 0\n8:0 Total 94208\nTotal 94208\n"},
            {v1_folder("blkio") + "blkio.throttle.io_serviced_recursive", "8:0 Read 22\n8:0 Write 1\nTotal 23\n"},
            {v1_folder("pids") + "pids.current", "5\n"},
            {v1_folder("pids") + "pids.max", "100\n"},
            {"sys/dev/block/8:0/uevent", "DEVNAME=sda\n"}},
           all(v1_path) + "container_spec_cpu_shares" + v1 + " 1024\n" + "container_memory_usage_bytes" + v1 +
               " 1000000\n" + "container_memory_working_set_bytes" + v1 + " 700000\n" + "container_memory_rss" + v1 +
               " 400000\n" + "container_memory_cache" + v1 + " 500000\n" + "container_oom_events_total" + v1 + " 2\n" +
               "container_spec_memory_swap_limit_bytes" + v1 + " 2000000\n" + "container_threads" + v1 + " 5\n" +
               "container_threads_max" + v1 + " 100\n" + io(v1_path) + found,
           ""},
          {"nobody's",
           {{"sys/fs/cgroup/cgroup.controllers", ""}, {"sys/fs/cgroup/system.slice/x.service/cpu.stat", ""}},
           "vitald_container_cgroups 0\nvitald_container_cgroups_left_out 0\nvitald_container_cgroups_by_file 0\n",
           ""},
          {"no cgroups", {}, "", "absent: no cgroups in /sys/fs/cgroup"},
      });
}

TEST(Containers, OneBadFileCostsItself) {
  auto tree = v2(kInPod);
  tree["sys/fs/cgroup" + kInPod + "/memory.stat"] = "anon 4x\n";
  tree["sys/fs/cgroup" + kInPod + "/io.stat"] = "8:0 rbytes=many\n";
  tree["sys/fs/cgroup" + kInPod + "/cpu.max"] = "max\n";
  CollectorFixture fixture("containers", tree);
  const auto got = fixture.run();
  EXPECT_THAT(got.error, HasSubstr("/cpu.max: 'max': a quota or max, and a period expected (and 2 more)"));
  EXPECT_THAT(got.error, Not(HasSubstr("cpu.stat")));
  EXPECT_THAT(got.text, HasSubstr("container_cpu_usage_seconds_total{"));
  EXPECT_THAT(got.text, HasSubstr("container_memory_usage_bytes{"));
  EXPECT_THAT(got.text, Not(HasSubstr("container_memory_rss")));
  EXPECT_THAT(got.text, Not(HasSubstr("container_memory_working_set")));
  EXPECT_THAT(got.text, Not(HasSubstr("container_fs_")));
  EXPECT_THAT(got.text, Not(HasSubstr("container_spec_cpu_quota")));
}

// What cannot be read is missing, and no 0.
TEST(Containers, OneBadNumberCostsItself) {
  auto tree = v2(kInPod);
  tree["sys/fs/cgroup" + kInPod + "/memory.current"] = "-\n";
  tree["sys/fs/cgroup" + kInPod + "/io.stat"] =
      "8:0 rbytes=90112 wbytes=many rios=22 wios=1\n8:16 rbytes=x wbytes=7 rios=5\n";
  CollectorFixture fixture("containers", tree);
  const auto got = fixture.run();
  EXPECT_THAT(got.error, HasSubstr("(and 2 more)"));
  EXPECT_THAT(got.text, Not(HasSubstr("container_memory_working_set")));
  EXPECT_THAT(got.text, HasSubstr("container_memory_rss{"));
  const auto of = [&](const std::string& family, const std::string& device) {
    const auto line = lines_with(got.text, family + "{device=\"" + device + "\"");
    return line.empty() ? std::string() : line.substr(line.rfind("} ") + 2);
  };
  EXPECT_EQ(of("container_fs_reads_bytes_total", "/dev/sda"), "90112\n");
  EXPECT_EQ(of("container_fs_writes_bytes_total", "/dev/sda"), "");
  EXPECT_EQ(of("container_fs_reads_total", "/dev/sda"), "22\n");
  EXPECT_EQ(of("container_fs_writes_total", "/dev/sda"), "1\n");
  EXPECT_EQ(of("container_fs_reads_bytes_total", "8:16"), "");
  EXPECT_EQ(of("container_fs_writes_bytes_total", "8:16"), "7\n");
  EXPECT_EQ(of("container_fs_reads_total", "8:16"), "5\n");
  EXPECT_EQ(of("container_fs_writes_total", "8:16"), "");
}

TEST(Containers, OneBadNumberOnV1CostsItself) {
  const auto path = "/docker/" + kId;
  CollectorFixture fixture(
      "containers",
      Tree{{"sys/fs/cgroup/memory" + path + "/memory.stat", "total_rss 4\ntotal_inactive_file 3\n"},
           {"sys/fs/cgroup/memory" + path + "/memory.usage_in_bytes", "x\n"},
           {"sys/fs/cgroup/blkio" + path + "/blkio.throttle.io_serviced_recursive", "8:0 Read 22\n8:0 Write x\n"}});
  const auto got = fixture.run();
  EXPECT_THAT(got.error, HasSubstr("(and 1 more)"));
  EXPECT_THAT(got.text, HasSubstr("container_memory_rss{"));
  EXPECT_THAT(got.text, Not(HasSubstr("container_memory_working_set")));
  EXPECT_THAT(got.text, HasSubstr("container_fs_reads_total{"));
  EXPECT_THAT(got.text, Not(HasSubstr("container_fs_writes")));
  EXPECT_THAT(got.text, Not(HasSubstr("container_fs_reads_bytes")));
}

// The names come from the files that kubelet keeps for log shippers.
TEST(Containers, PodsAndTheirContainersHaveNames) {
  auto tree = joined(v2(kPod), v2(kInPod));
  tree["root/var/log/containers/web-0_shop_nginx-" + kId + ".log"] = "";
  tree["root/var/log/pods/shop_web-0_" + kUid + "/nginx/0.log"] = "";
  // What a container makes below itself is not looked at.
  tree["sys/fs/cgroup" + kInPod + "/docker-" + kOther + ".scope/pids.current"] = "1\n";
  CollectorFixture fixture("containers", tree);
  const auto got = fixture.run();
  EXPECT_EQ(got.error, "");
  EXPECT_THAT(got.text, HasSubstr("container_threads{container=\"nginx\",id=\"" + kInPod + "\",name=\"" + kId +
                                  "\",namespace=\"shop\",owner=\"shop/web-0/nginx\",owner_kind=\"container\",pod="
                                  "\"web-0\"} 5\n"));
  EXPECT_THAT(got.text, HasSubstr("container_threads{id=\"" + kPod +
                                  "\",name=\"shop/web-0\",namespace=\"shop\",owner=\"shop/web-0\",owner_kind=\"pod\","
                                  "pod=\"web-0\"} 5\n"));
  EXPECT_THAT(got.text, Not(HasSubstr(kOther)));
  EXPECT_THAT(got.text, HasSubstr("vitald_container_cgroups 2\n"));
}

TEST(Containers, NoKind) {
  CollectorFixture fixture("containers", v2("/system.slice/docker-" + kId + ".scope"),
                           {{"collector.containers.kinds", ""}});
  EXPECT_THAT(fixture.run().error, HasSubstr("malformed: --collector.containers.kinds: none is named"));
}

// The kernel tells of folders that come and go; nothing is walked again meanwhile.
TEST(Containers, ComeAndGo) {
  const auto one = "/system.slice/docker-" + kId + ".scope", two = "/machine.slice/libpod-" + kOther + ".scope";
  CollectorFixture fixture("containers", v2(one), {{"collector.containers.kinds", "container,unit"}});
  fixture.clock.advance_ns(1'000'000'000);
  EXPECT_THAT(fixture.run().text, HasSubstr("vitald_container_cgroups 1\n"));
  for (const auto& [path, content] : v2(two)) fixture.write(path, content);
  for (const auto& [path, content] : v2("/system.slice/ssh.service")) fixture.write(path, content);
  auto text = fixture.run().text;
  EXPECT_THAT(text, HasSubstr("vitald_container_cgroups 3\n"));
  EXPECT_THAT(text, HasSubstr("container_threads{id=\"" + two + "\""));
  EXPECT_THAT(text, HasSubstr("container_threads{id=\"/system.slice/ssh.service\""));
  fixture.remove("sys/fs/cgroup/machine.slice");
  fixture.remove("sys/fs/cgroup" + one);
  text = fixture.run().text;
  EXPECT_THAT(text, HasSubstr("vitald_container_cgroups 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("docker-")));
  // Another one where one was.
  for (const auto& [path, content] : v2(one)) fixture.write(path, content);
  fixture.write("sys/fs/cgroup" + one + "/pids.current", "9\n");
  EXPECT_THAT(fixture.run().text, HasSubstr("owner=\"aaaaaaaaaaaa\",owner_kind=\"container\"} 9\n"));
}

// Whoever may make cgroups in a unit of his own does not crowd out those of the host.
TEST(Containers, AUnitHasAShare) {
  auto tree = v2("/system.slice/docker-" + kId + ".scope");
  CollectorFixture fixture("containers", tree);
  const auto user = fixture.root() + "/sys/fs/cgroup/user.slice/user-1.slice/user@1.service";
  for (int i = 0; i < 3000; ++i) std::filesystem::create_directories(user + "/" + std::to_string(i));
  std::string deep = user;
  for (int i = 0; i < 100; ++i) deep += "/d";
  std::filesystem::create_directories(deep);
  fixture.clock.advance_ns(1'000'000'000);
  const auto text = fixture.run().text;
  EXPECT_THAT(text, HasSubstr("vitald_container_cgroups 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("vitald_container_cgroups_left_out 0\n")));
}

}  // namespace
}  // namespace vitald
