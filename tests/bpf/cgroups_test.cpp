// SPDX-License-Identifier: Apache-2.0
// Cgroups of v2 by the BPF iterator, beside what their files say at the same moment: those that worked, were throttled,
// wrote, were made anew, and a thousand of them.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "sensors/bpf/cgroup_iterator.h"
#include "sensors/bpf/cgroup_source.h"
#include "sensors/owner/cgroup_files.h"
#include "tests/bpf/live_probe.h"

namespace vitald {
namespace {

std::string v2_mount() {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device, where, type;
    words >> device >> where >> type;
    if (type == "cgroup2") return where;
  }
  return {};
}

// Folders below one of its own, with all controllers that this machine's v2 has; gone at the end.
class Tree {
 public:
  explicit Tree(std::string mount) : mount_(std::move(mount)), top_(fmt::format("/vitald-tree-{}", getpid())) {
    give(mount_);
    mkdir((mount_ + top_).c_str(), 0755);
    give(mount_ + top_);
  }
  ~Tree() {
    for (const auto pid : pids_) kill(pid, SIGKILL), waitpid(pid, nullptr, 0);
    for (const auto& path : paths_) remove(path);
    rmdir((mount_ + top_).c_str());
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  std::string make(const std::string& name) {
    paths_.push_back(top_ + "/" + name);
    mkdir((mount_ + paths_.back()).c_str(), 0755);
    return paths_.back();
  }
  void remove(const std::string& path) const {
    for (int i = 0; i < 100 && rmdir((mount_ + path).c_str()) != 0 && errno == EBUSY; ++i) usleep(10'000);
  }
  bool set(const std::string& path, const std::string& file, const std::string& value) const {
    std::ofstream to(mount_ + path + "/" + file);
    to << value << std::flush;
    return static_cast<bool>(to);
  }
  // Runs it there, and lets it stand still then.
  void work(const std::string& path, const std::function<void()>& body) {
    const auto pid = fork();
    if (pid == 0) {
      set(path, "cgroup.procs", std::to_string(getpid()));
      body();
      raise(SIGSTOP);
      _exit(0);
    }
    pids_.push_back(pid);
    waitpid(pid, nullptr, WUNTRACED);
  }

 private:
  static void give(const std::string& folder) {
    for (const char* controller : {"+cpu", "+memory", "+io", "+pids"})
      std::ofstream(folder + "/cgroup.subtree_control") << controller << std::flush;
  }
  std::string mount_, top_;
  std::vector<std::string> paths_;
  std::vector<pid_t> pids_;
};

void spin(int ms) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
  while (std::chrono::steady_clock::now() < end) (void)getppid();
}

struct Field {
  cgroup::Number number;
  const char* name;
  double tolerance;  // absolute
};
// The split of user and system is the one that was shown last, of whoever read it; pressure is added up every two
// seconds.
constexpr Field kFields[] = {
    {cgroup::cpu_usage, "cpu_usage", 0},
    {cgroup::cpu_user, "cpu_user", 0.02},
    {cgroup::cpu_system, "cpu_system", 0.02},
    {cgroup::cpu_periods, "cpu_periods", 0},
    {cgroup::cpu_throttled_periods, "cpu_throttled_periods", 0},
    {cgroup::cpu_throttled, "cpu_throttled", 0},
    {cgroup::cpu_quota, "cpu_quota", 0},
    {cgroup::cpu_period, "cpu_period", 0},
    {cgroup::cpu_shares, "cpu_shares", 0},
    {cgroup::memory_usage, "memory_usage", 0},
    {cgroup::memory_working_set, "memory_working_set", 0},
    {cgroup::memory_rss, "memory_rss", 0},
    {cgroup::memory_cache, "memory_cache", 0},
    {cgroup::memory_mapped, "memory_mapped", 0},
    {cgroup::memory_swap, "memory_swap", 0},
    {cgroup::memory_max_usage, "memory_max_usage", 0},
    {cgroup::memory_failcnt, "memory_failcnt", 0},
    {cgroup::memory_oom, "memory_oom", 0},
    {cgroup::memory_pgfault, "memory_pgfault", 0},
    {cgroup::memory_pgmajfault, "memory_pgmajfault", 0},
    {cgroup::memory_limit, "memory_limit", 0},
    {cgroup::swap_limit, "swap_limit", 0},
    {cgroup::threads, "threads", 0},
    {cgroup::threads_limit, "threads_limit", 0},
    {cgroup::cpu_waiting, "cpu_waiting", 0.05},
    {cgroup::cpu_stalled, "cpu_stalled", 0.05},
    {cgroup::memory_waiting, "memory_waiting", 0.05},
    {cgroup::memory_stalled, "memory_stalled", 0.05},
    {cgroup::io_waiting, "io_waiting", 0.05},
    {cgroup::io_stalled, "io_stalled", 0.05},
};
static_assert(std::size(kFields) == cgroup::kNumbers);

void expect_same(const std::string& path, const cgroup::Values& ours, const cgroup::Values& files) {
  for (const auto& f : kFields) {
    const auto a = ours.numbers[f.number], b = files.numbers[f.number];
    EXPECT_EQ(std::isnan(a), std::isnan(b)) << path << ' ' << f.name << ": " << a << ", its file " << b;
    if (std::isnan(a) || std::isnan(b)) continue;
    EXPECT_NEAR(a, b, f.tolerance) << path << ' ' << f.name;
  }
  auto of = ours.io, in = files.io;
  std::erase_if(in, [](const auto& io) { return std::ranges::all_of(io.values, [](double v) { return v == 0; }); });
  const auto by_device = [](const auto& a, const auto& b) { return a.device < b.device; };
  std::ranges::sort(of, by_device), std::ranges::sort(in, by_device);
  ASSERT_EQ(of.size(), in.size()) << path;
  for (std::size_t i = 0; i < of.size(); ++i) {
    EXPECT_EQ(of[i].device, in[i].device);
    EXPECT_EQ(of[i].values, in[i].values) << path << ' ' << of[i].device;
  }
}

class Cgroups : public Probes {
 protected:
  void SetUp() override {
    Probes::SetUp();
    if (IsSkipped()) return;
    mount_ = v2_mount();
    if (mount_.empty()) GTEST_SKIP() << "no cgroup v2";
    auto made = CgroupIterator::load(real_host_, mount_);
    if (!made && made.error().kind == Errc::absent) GTEST_SKIP() << made.error().text;
    ASSERT_TRUE(made) << made.error().text;
    iterator_ = std::move(*made);
  }
  std::string mount_;
  std::unique_ptr<CgroupIterator> iterator_;
};

TEST_F(Cgroups, IteratorSaysWhatFilesSay) {
  Tree tree(mount_);
  std::vector<std::string> paths;
  for (const char* name : {"busy", "idle", "limited", "memory", "writer"}) paths.push_back(tree.make(name));
  tree.set(paths[2], "cpu.max", "20000 50000");
  tree.set(paths[2], "cpu.weight", "50");
  tree.set(paths[2], "pids.max", "77");
  tree.set(paths[3], "memory.max", "67108864");
  tree.work(paths[0], [] { spin(400); });
  tree.work(paths[2], [] { spin(400); });
  tree.work(paths[3], [] {
    const std::size_t bytes = 20u << 20;
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p != MAP_FAILED) std::fill_n(static_cast<char*>(p), bytes, 'v');
    // More of a file than the limit lets it keep.
    std::ofstream file(fmt::format("cgroups-{}.tmp", getpid()));
    const std::string block(1u << 20, 'v');
    for (int i = 0; i < 60; ++i) file << block;
  });
  // A disk whose requests are the cgroup's: in a machine of our own there can be one.
  const bool has_disk =
      std::getenv("VITALD_MACHINE_IS_OURS") && std::system(
                                                   "mkdir -p /run/cgroups && modprobe brd rd_nr=1 rd_size=65536 && "
                                                   "mkfs.ext4 -q /dev/ram0 && mount /dev/ram0 /run/cgroups") == 0;
  if (has_disk)
    tree.work(paths[4], [] {
      (void)!std::system(
          "dd if=/dev/zero of=/run/cgroups/file bs=64k count=32 oflag=direct 2>/dev/null && "
          "dd if=/run/cgroups/file of=/dev/null bs=4k iflag=direct 2>/dev/null");
    });
  ASSERT_TRUE(iterator_->want(paths));
  usleep(2'500'000);  // memory.stat and pressure are added up every two seconds
  LeftOut left_out;
  for (int round = 0; round < 60 && !iterator_->knows_memory_stat(); ++round) ASSERT_TRUE(iterator_->read(left_out));
  ASSERT_TRUE(iterator_->read(left_out));
  cgroup::Values ours, files;
  int numbers = 0, disks = 0;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    ASSERT_TRUE(iterator_->get(i, ours, left_out)) << paths[i];
    cgroup::v2_reader(mount_ + paths[i])->read(files, left_out);
    expect_same(paths[i], ours, files);
    numbers += static_cast<int>(std::ranges::count_if(ours.numbers, [](double v) { return !std::isnan(v); }));
    disks += static_cast<int>(ours.io.size());
  }
  if (access((mount_ + paths[0] + "/memory.stat").c_str(), F_OK) == 0) {
    EXPECT_TRUE(iterator_->knows_memory_stat());
  }
  EXPECT_TRUE(left_out.outcome()) << left_out.outcome().error().text;
  fmt::print("{} numbers and {} disks of {} cgroups as their files have them; memory.stat {}\n", numbers, disks,
             paths.size(), iterator_->knows_memory_stat() ? "from the kernel" : "from its file");
  if (has_disk) {
    EXPECT_GE(disks, 1);
    EXPECT_EQ(std::system("umount /run/cgroups"), 0);
  }
  (void)!std::system("rm -f cgroups-*.tmp");
}

TEST_F(Cgroups, IteratorFollowsWhatIsMadeAnew) {
  Tree tree(mount_);
  const std::vector<std::string> paths = {tree.make("one"), tree.make("two")};
  LeftOut left_out;
  cgroup::Values values;
  ASSERT_TRUE(iterator_->want(paths));
  ASSERT_TRUE(iterator_->read(left_out));
  EXPECT_TRUE(iterator_->get(0, values, left_out));
  EXPECT_TRUE(iterator_->get(1, values, left_out));
  EXPECT_FALSE(iterator_->get(2, values, left_out));
  tree.remove(paths[1]);
  ASSERT_TRUE(iterator_->read(left_out));
  EXPECT_TRUE(iterator_->get(0, values, left_out));
  EXPECT_FALSE(iterator_->get(1, values, left_out)) << "it has gone";
  mkdir((mount_ + paths[1]).c_str(), 0755);
  ASSERT_TRUE(iterator_->want(paths));
  ASSERT_TRUE(iterator_->read(left_out));
  EXPECT_TRUE(iterator_->get(1, values, left_out)) << "another one of its name";
  const std::vector<std::string> one = {paths[1]};
  ASSERT_TRUE(iterator_->want(one));
  ASSERT_TRUE(iterator_->read(left_out));
  EXPECT_TRUE(iterator_->get(0, values, left_out));
}

// A moment without a file descriptor to be had costs that moment.
TEST_F(Cgroups, IteratorIsHadAgain) {
  Tree tree(mount_);
  FakeClock clock;
  CgroupSource source([this] { return CgroupIterator::load(real_host_, mount_); }, clock);
  source.want({tree.make("one")});
  LeftOut left_out;
  cgroup::Values values;
  source.read(left_out);
  ASSERT_TRUE(source.get(0, values, left_out));
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{0, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  source.read(left_out);
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_FALSE(source.get(0, values, left_out));
  EXPECT_THAT(source.status(), testing::HasSubstr("by files: iterator over cgroups: Too many open files"));
  clock.advance_ns(15'000'000'000);
  source.read(left_out);
  EXPECT_TRUE(source.get(0, values, left_out));
}

// More than it has records for at first.
TEST_F(Cgroups, IteratorOfAThousand) {
  Tree tree(mount_);
  std::vector<std::string> paths;
  for (int i = 0; i < 1000; ++i) paths.push_back(tree.make(fmt::format("n{:04}", i)));
  LeftOut left_out;
  ASSERT_TRUE(iterator_->want(paths));
  cgroup::Values values;
  const auto best_ms = [](auto&& what) {
    double best = 1e9;
    for (int i = 0; i < 20; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      what();
      best =
          std::min(best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
    }
    return best;
  };
  std::size_t seen = 0;
  const auto by_iterator = best_ms([&] {
    ASSERT_TRUE(iterator_->read(left_out));
    seen = 0;
    for (std::size_t i = 0; i < paths.size(); ++i) seen += iterator_->get(i, values, left_out) ? 1 : 0;
  });
  EXPECT_EQ(seen, paths.size());
  std::vector<std::unique_ptr<cgroup::Reader>> readers;
  for (const auto& path : paths) readers.push_back(cgroup::v2_reader(mount_ + path));
  const auto by_files = best_ms([&] {
    for (auto& reader : readers) reader->read(values, left_out);
  });
  fmt::print("1000 cgroups: {:.3f} ms by the iterator, {:.3f} ms by files\n", by_iterator, by_files);
  EXPECT_LT(by_iterator, by_files);
}

}  // namespace
}  // namespace vitald
