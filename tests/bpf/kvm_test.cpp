// SPDX-License-Identifier: Apache-2.0
// Guests whose exits are known, beside the kernel's own record of each of them.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cctype>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <list>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bpf/include/vitald/kvm.h"
#include "core/os/fd.h"
#include "sensors/bpf/exit_reasons.h"
#include "sensors/bpf/kvm.h"
#include "sensors/bpf/module_types.h"
#include "sensors/owner/hierarchy.h"
#include "tests/bpf/live_probe.h"
#include "tests/bpf/load.h"
#include "tests/bpf/tiny_guest.h"

namespace vitald {
namespace {

TEST(ExitReasons, HaveTheKernelsNames) {
  const struct {
    std::uint32_t isa, code;
    const char* name;
  } kCases[] = {
      {VITALD_ISA_VMX, 12, "hlt"},
      {VITALD_ISA_VMX, 48, "ept_violation"},
      {VITALD_ISA_VMX, 30, "io_instruction"},
      {VITALD_ISA_VMX, 84, "msr_read_imm"},
      {VITALD_ISA_VMX, 200, "0xc8"},
      {VITALD_ISA_SVM, 0x78, "hlt"},
      {VITALD_ISA_SVM, 0x400, "npf"},
      {VITALD_ISA_SVM, 0x4e, "pf_excp"},
      {VITALD_ISA_SVM, 0xa6, "idle_hlt"},
      {VITALD_ISA_OTHER, 12, "0xc"},
      {VITALD_ISA_VMX, VITALD_EXIT_UNKNOWN, "unknown"},
  };
  for (const auto& c : kCases) EXPECT_EQ(exit_reason_name(c.isa, c.code), c.name) << c.isa << ' ' << c.code;
}

// By what refers to KVM's modules: nothing of ours is loaded before there may be a guest.
TEST(Kvm, IsInUse) {
  struct Case {
    const char* name;
    std::map<std::string, std::string> files;  // below module/
    bool in_use;
  };
  const Case cases[] = {
      {"nobody has it open",
       {{"kvm_intel/refcnt", "0\n"}, {"kvm/refcnt", "1\n"}, {"kvm/holders/kvm_intel", ""}},
       false},
      {"a guest", {{"kvm_intel/refcnt", "4\n"}, {"kvm/refcnt", "1\n"}, {"kvm/holders/kvm_intel", ""}}, true},
      {"by kvm itself", {{"kvm_intel/refcnt", "0\n"}, {"kvm/refcnt", "2\n"}, {"kvm/holders/kvm_intel", ""}}, true},
      {"a part of the kernel", {{"kvm_intel/parameters/ept", "Y\n"}}, true},
      {"no number", {{"kvm_intel/refcnt", "?\n"}}, true},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto root = fmt::format("{}/kvm_test_{}", testing::TempDir(), getpid());
    for (const auto& [file, text] : c.files) {
      const auto path = std::filesystem::path(fmt::format("{}/module/{}", root, file));
      std::filesystem::create_directories(path.parent_path());
      std::ofstream(path) << text;
    }
    const Host host({"/proc", root, "/", ""});
    EXPECT_EQ(kvm_in_use(host, "kvm_intel"), c.in_use);
    std::filesystem::remove_all(root);
  }
}

// Known members, of which the compiler's and the kernel's own account is in its types.
TEST_F(Probes, MembersOfModules) {
  const MemberPath kPaths[] = {{"task_struct", "comm"},          {"task_struct", "sched_info", "run_delay"},
                               {"task_struct", "sched_info"},    {"sched_info", "run_delay"},
                               {"task_struct", "there_is_none"}, {"there_is_none", "comm"}};
  const auto found = member_offsets("no_such_module", kPaths);
  ASSERT_TRUE(found) << found.error().text;
  EXPECT_GT((*found)[0].value_or(0), 0U);
  EXPECT_EQ((*found)[1].value_or(0), (*found)[2].value_or(0) + (*found)[3].value_or(0));
  EXPECT_FALSE((*found)[4].has_value());
  EXPECT_FALSE((*found)[5].has_value());
}

// An emulated machine takes a multiple of it.
const std::map<std::string, std::string> kNoBudget = {{"bpf.budget", "0"}};

class Guests : public Probes {
 protected:
  void SetUp() override {
    Probes::SetUp();
    if (IsSkipped()) return;
    if (std::getenv("VITALD_MACHINE_IS_OURS"))
      (void)std::system("modprobe kvm_amd 2>/dev/null || modprobe kvm_intel 2>/dev/null");
    kvm_ = Fd(open("/dev/kvm", O_RDWR | O_CLOEXEC));  // probes begin when somebody has it open
    if (!kvm_) GTEST_SKIP() << "no /dev/kvm here";
    if (access("/sys/kernel/tracing/trace", F_OK) != 0 &&
        std::system("mount -t tracefs tracefs /sys/kernel/tracing") != 0)
      GTEST_SKIP() << "no tracefs";
    trace_ = fmt::format("/sys/kernel/tracing/instances/vitald-test-{}", getpid());
    ASSERT_EQ(mkdir(trace_.c_str(), 0700), 0) << trace_;
    put("/buffer_size_kb", "32768");
  }
  void TearDown() override {
    if (!trace_.empty()) rmdir(trace_.c_str());
    Probes::TearDown();
  }
  void put(const std::string& file, const std::string& text) const {
    std::ofstream to(trace_ + file);
    to << text << std::flush;
    ASSERT_TRUE(to) << file;
  }
  // What follows "EVENT: " in the lines of one process.
  [[nodiscard]] std::vector<std::string> traced(const std::string& event, pid_t pid) const {
    std::vector<std::string> found;
    std::ifstream lines(trace_ + "/trace");
    const auto who = fmt::format("-{} ", pid), what = event + ": ";
    for (std::string line; std::getline(lines, line);) {
      const auto at = line.find(what);
      if (at != std::string::npos && line.find(who) < at) found.push_back(line.substr(at + what.size()));
    }
    return found;
  }
  std::string trace_;
  Fd kvm_;
};

// cpuid and a write to a port, so often
std::vector<std::uint8_t> exits_of(std::uint32_t times) {
  std::vector<std::uint8_t> code = {0x66, 0xbd, 0, 0, 0, 0};  // mov ebp, times
  for (int i = 0; i < 4; ++i) code[static_cast<std::size_t>(2 + i)] = static_cast<std::uint8_t>(times >> (8 * i));
  // again: xor eax, eax; cpuid; out 0x80, al; dec ebp; jnz again; hlt
  for (const int byte : {0x66, 0x31, 0xc0, 0x0f, 0xa2, 0xe6, 0x80, 0x66, 0x4d, 0x75, 0xf5, 0xf4})
    code.push_back(static_cast<std::uint8_t>(byte));
  return code;
}

// "vcpu 0 reason CPUID rip 0x1006 ...": as we call it.
std::string reason_in(const std::string& line) {
  const auto begin = line.find("reason ") + 7, end = line.find(" rip", begin);
  std::string name = line.substr(begin, end - begin);
  while (!name.empty() && name.back() == ' ') name.pop_back();
  for (char& c : name)
    c = std::isalnum(static_cast<unsigned char>(c)) ? static_cast<char>(std::tolower(static_cast<unsigned char>(c)))
                                                    : '_';
  return name;
}

double grown(const std::map<std::string, double>& before, const std::map<std::string, double>& after,
             const std::string& series) {
  const auto at = [&](const auto& all) { return all.contains(series) ? all.at(series) : 0.0; };
  return at(after) - at(before);
}

TEST_F(Guests, ExitsByReason) {
  constexpr std::uint32_t kTimes = 5000;
  until_seen_whole([&] {
    LiveProbe probe("guest_exits", kNoBudget);
    ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
    TestCgroup cgroup(cpu_hierarchy(real_host_), fmt::format("vitald-guest-{}", getpid()));
    const auto owner = fmt::format("owner=\"{}\",owner_kind=\"other\"", cgroup.path());
    const auto before = probe.collect();
    put("/trace", "");
    put("/events/kvm/kvm_exit/enable", "1");
    put("/events/kvm/kvm_entry/enable", "1");
    Child child(cgroup, 0, [] { TinyGuest().run(exits_of(kTimes)); });
    const auto pid = child.pid();
    child.finish();
    put("/events/kvm/enable", "0");
    EXPECT_TRUE(WIFEXITED(child.status()) && WEXITSTATUS(child.status()) == 0) << child.status();
    std::map<std::string, double> truth;
    for (const auto& line : traced("kvm_exit", pid)) ++truth[reason_in(line)];
    if (truth.empty()) GTEST_SKIP() << "this machine's KVM does not run such a guest, but emulates it";
    // Those that went back in: its last one is the end.
    const auto entries = static_cast<double>(traced("kvm_entry", pid).size());
    const auto after = probe.collect();
    double exits = 0;
    for (const auto& [reason, count] : truth) {
      const auto ours =
          grown(before, after, fmt::format("vitald_owner_vcpu_exits_total{{{},reason=\"{}\"}}", owner, reason));
      fmt::print("{}: {}, the kernel's trace has {}\n", reason, ours, count);
      EXPECT_NEAR(ours, count, std::max(1.0, count / 100)) << reason;
      exits += ours;
    }
    EXPECT_EQ(exits, entries - 1) << "all that went back in, but for the first time";
    EXPECT_GE(exits, kTimes);
    const auto handled = grown(before, after, fmt::format("vitald_owner_vcpu_exit_seconds_count{{{}}}", owner));
    EXPECT_EQ(handled, exits) << "it did not halt but at its end";
    EXPECT_GT(grown(before, after, fmt::format("vitald_owner_vcpu_exit_seconds_sum{{{}}}", owner)), 0);
  });
}

TEST_F(Guests, WaitsForACpu) {
  until_seen_whole([&] {
    LiveProbe probe("guest_exits", kNoBudget);
    ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
    TestCgroup cgroup(cpu_hierarchy(real_host_), fmt::format("vitald-guest-{}", getpid()));
    TestCgroup beside(cpu_hierarchy(real_host_), fmt::format("vitald-hog-{}", getpid()));
    const auto owner = fmt::format("owner=\"{}\",owner_kind=\"other\"", cgroup.path());
    auto* waited_ns =
        static_cast<std::uint64_t*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    const auto before = probe.collect();
    const auto spin = [](auto&& what) {
      const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
      while (std::chrono::steady_clock::now() < end) what();
    };
    put("/trace", "");
    put("/events/kvm/kvm_exit/enable", "1");
    Child hog(beside, 0, [&] { spin([] {}); });
    Child child(cgroup, 0, [&] {
      TinyGuest guest;
      const auto code = exits_of(200);
      const auto waited = [] {
        std::uint64_t cpu = 0, delay = 0;
        std::ifstream("/proc/thread-self/schedstat") >> cpu >> delay;
        return delay;
      };
      const auto begin = waited();
      spin([&] { guest.run(code); });
      *waited_ns = waited() - begin;
    });
    const auto pid = child.pid();
    child.finish();
    hog.finish();
    put("/events/kvm/enable", "0");
    if (traced("kvm_exit", pid).empty())
      GTEST_SKIP() << "this machine's KVM does not run such a guest, but emulates it";
    const auto after = probe.collect();
    const auto truth = static_cast<double>(*waited_ns) / 1e9;
    munmap(waited_ns, 4096);
    const auto ours = grown(before, after, fmt::format("vitald_owner_vcpu_wait_seconds_sum{{{}}}", owner));
    fmt::print("waited {:.4f} s, the scheduler says {:.4f} s\n", ours, truth);
    EXPECT_GT(truth, 0.3);
    EXPECT_NEAR(ours, truth, truth / 100 + 0.02) << "a wait before the first exit and one behind the last";
  });
}

TEST_F(Guests, Halts) {
  constexpr std::uint8_t kTimes = 200;
  // cli; the interrupt controller: vectors from 0x20, line 0 alone; mov ebp, times; again: sti; hlt; dec ebp; jnz
  // again; out 0x81, al
  const std::vector<std::uint8_t> code = {0xfa, 0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x20, 0xe6, 0x21, 0xb0, 0x04, 0xe6,
                                          0x21, 0xb0, 0x01, 0xe6, 0x21, 0xb0, 0xfe, 0xe6, 0x21, 0x66, 0xbd, kTimes,
                                          0,    0,    0,    0xfb, 0xf4, 0x66, 0x4d, 0x75, 0xfa, 0xe6, 0x81};
  until_seen_whole([&] {
    LiveProbe probe("guest_halts", kNoBudget), exits("guest_exits", kNoBudget);
    ASSERT_TRUE(probe.status().starts_with("attached")) << probe.status();
    TestCgroup cgroup(cpu_hierarchy(real_host_), fmt::format("vitald-guest-{}", getpid()));
    const auto owner = fmt::format("owner=\"{}\",owner_kind=\"other\"", cgroup.path());
    const auto before = probe.collect();
    const auto exits_before = exits.collect();
    put("/trace", "");
    put("/events/kvm/kvm_vcpu_wakeup/enable", "1");
    Child child(cgroup, 0, [&] {
      TinyGuest guest(true);
      std::atomic<bool> done = false;
      std::thread waker([&] {
        while (!done) {
          usleep(1000);
          guest.interrupt();
        }
      });
      guest.run(code);
      done = true;
      waker.join();
    });
    const auto pid = child.pid();
    child.finish();
    put("/events/kvm/enable", "0");
    EXPECT_TRUE(WIFEXITED(child.status()) && WEXITSTATUS(child.status()) == 0) << child.status();
    double polls = 0, sleeps = 0, seconds = 0;
    for (const auto& line : traced("kvm_vcpu_wakeup", pid)) {
      ++(line.starts_with("wait") ? sleeps : polls);
      seconds += std::strtod(line.c_str() + line.find("time ") + 5, nullptr) / 1e9;
    }
    const auto after = probe.collect();
    const auto ours = [&](const char* family, const char* woken) {
      return grown(before, after, fmt::format("{}{{{},woken=\"{}\"}}", family, owner, woken));
    };
    const std::string halts = "vitald_owner_vcpu_halts_total", time = "vitald_owner_vcpu_halt_seconds_total";
    fmt::print("{} ended polling and {} asleep, the kernel's trace has {} and {}\n", ours(halts.c_str(), "polling"),
               ours(halts.c_str(), "asleep"), polls, sleeps);
    EXPECT_GE(polls + sleeps, kTimes * 9 / 10) << "an interrupt that came between two halts ended none";
    EXPECT_EQ(ours(halts.c_str(), "polling"), polls);
    EXPECT_EQ(ours(halts.c_str(), "asleep"), sleeps);
    EXPECT_NEAR(ours(time.c_str(), "polling") + ours(time.c_str(), "asleep"), seconds, seconds / 1000 + 1e-6);
    const auto exits_after = exits.collect();
    const auto handled =
        grown(exits_before, exits_after, fmt::format("vitald_owner_vcpu_exit_seconds_sum{{{}}}", owner));
    fmt::print("{:.4f} s of exits that were no halts, beside {:.4f} s of halts\n", handled, seconds);
    EXPECT_LT(handled, seconds) << "a halt is no work of the host's";
  });
}

constexpr FlagSpec kBoth[] = {{.name = "probe.guest_exits", .type = FlagType::boolean, .fallback = "true", .help = ""},
                              {.name = "probe.guest_halts", .type = FlagType::boolean, .fallback = "true", .help = ""}};

// Both probes on one host, and with them one that begins slots, as they do. What a guest counts is written where the
// programs write it, so this needs no guest that runs.
class TwoProbes {
 public:
  TwoProbes() : host_(Host::Roots(), &clock_) {
    for (const char* name : {"guest_exits", "guest_halts", "runq_latency"}) {
      auto& p = probes_.emplace_back(name);
      const auto& info = info_of(name);
      p.options.declare(info.flags);
      p.options.declare(kBoth);
      p.options.set("bpf.budget", "0");
      auto made = info.make(host_, p.options);
      if (!made) throw std::runtime_error(made.error().text);
      p.collector = std::move(*made);
    }
    auto& shared = host_.shared<ObjectsInUse<KvmObject>>();
    const MutexLock lock(shared.mutex);
    for (const auto& o : shared.objects)
      if (auto object = o.lock()) objects_.push_back(std::move(object));
  }
  // Series of all without a value -> value.
  std::map<std::string, double> collect() {
    clock_.advance_ns(100'000'000);
    std::map<std::string, double> series;
    for (auto& p : probes_) {
      p.writer.begin(0);
      const auto outcome = p.collector->collect(p.writer);
      if (!outcome) ADD_FAILURE() << outcome.error().text;
      const auto batch = p.writer.finish(outcome, 0, 0);
      for (const auto& s : batch->layout->samples()) {
        auto name = batch->layout->prefix(s);
        name.remove_suffix(1);
        series[std::string(name)] = batch->values[s.value];
      }
    }
    return series;
  }
  [[nodiscard]] std::size_t objects() const { return objects_.size(); }
  // 0: there is none.
  [[nodiscard]] std::uint32_t slot_of(const std::string& path) const {
    const auto& slots = object().owners->slots();
    for (std::uint32_t slot = 1; slot < object().owners->size(); ++slot)
      if (const auto* paths = slots.paths(slot); paths && (paths->v2 == path || paths->v1 == path)) return slot;
    return 0;
  }
  std::uint32_t make_guest(std::uint32_t slot) const {
    std::uint32_t guest = 0;
    EXPECT_EQ(bpf_map_lookup_and_delete_elem(bpf_map__fd(object().bpf.skel().maps.free_guests), nullptr, &guest), 0);
    object().slot_of_guest[guest] = slot;
    object().guest_of_slot[slot] = guest;
    return guest;
  }
  [[nodiscard]] std::uint64_t guest_of(std::uint32_t slot) const { return object().guest_of_slot[slot]; }
  void count(std::uint32_t guest, std::uint64_t times) const {
    const auto rows = bpf_map__fd(object().bpf.skel().maps.rows);
    const auto at = guest * static_cast<std::uint32_t>(libbpf_num_possible_cpus());
    vitald_guest_row row{};
    ASSERT_EQ(bpf_map_lookup_elem(rows, &at, &row), 0);
    row.exits[0] += times;
    row.handling[0] += times;
    row.slept_count += times;
    ASSERT_EQ(bpf_map_update_elem(rows, &at, &row, BPF_ANY), 0);
  }

 private:
  struct Probe {
    explicit Probe(const char* name) : writer(name) {}
    Options options;
    BatchWriter writer;
    std::unique_ptr<Collector> collector;
  };
  [[nodiscard]] KvmObject& object() const { return *objects_.front(); }
  FakeClock clock_;
  Host host_;
  std::list<Probe> probes_;
  std::vector<std::shared_ptr<KvmObject>> objects_;
};

// A guest's number is the next one's: neither probe may give that one what the guest before has counted at its end.
TEST_F(Guests, WhatEndsCountsOnceInBothProbes) {
  TwoProbes probes;
  ASSERT_EQ(probes.objects(), 1U) << "one object for both";
  const auto counted = [&](const std::map<std::string, double>& series, const std::string& path) {
    const auto owner = fmt::format("owner=\"{}\",owner_kind=\"other\"", path);
    return std::pair{grown({}, series, fmt::format("vitald_owner_vcpu_exits_total{{{},reason=\"other\"}}", owner)),
                     grown({}, series, fmt::format("vitald_owner_vcpu_halts_total{{{},woken=\"asleep\"}}", owner))};
  };
  using Both = std::pair<double, double>;
  probes.collect();
  std::uint32_t first = 0;
  std::string gone;
  {
    TestCgroup cgroup(cpu_hierarchy(real_host_), fmt::format("vitald-first-{}", getpid()));
    Child(cgroup, 0, [] { usleep(1000); }).finish();
    gone = cgroup.path();
    probes.collect();
    const auto slot = probes.slot_of(gone);
    ASSERT_NE(slot, 0U);
    first = probes.make_guest(slot);
    probes.count(first, 100);
    EXPECT_EQ(counted(probes.collect(), gone), Both(100, 100));
    probes.count(first, 10);
    cgroup.remove();
    EXPECT_EQ(counted(probes.collect(), gone), Both(110, 110)) << "its slot is dying";
    for (int i = 0; i < 4 && probes.guest_of(slot) != 0; ++i) {
      probes.count(first, 1000);  // a CPU that still knows it, also when the slot is given up
      probes.collect();
    }
    ASSERT_EQ(probes.guest_of(slot), 0U);
  }
  probes.collect();
  TestCgroup cgroup(cpu_hierarchy(real_host_), fmt::format("vitald-second-{}", getpid()));
  Child(cgroup, 0, [] { usleep(1000); }).finish();
  probes.collect();
  const auto slot = probes.slot_of(cgroup.path());
  ASSERT_NE(slot, 0U);
  EXPECT_EQ(probes.make_guest(slot), first) << "the number is used again";
  probes.count(first, 7);
  EXPECT_EQ(counted(probes.collect(), cgroup.path()), Both(7, 7));
}

// A mapped map is resident whole, and where no guest runs nobody reads any but the first row.
TEST_F(Guests, RowsOfGuestsThatAreNotThereAreNotMapped) {
  const auto largest = [] {
    std::ifstream maps("/proc/self/maps");
    std::size_t most = 0;
    for (std::string line; std::getline(maps, line);) {
      if (line.find("bpf-map") == std::string::npos) continue;
      char* end = nullptr;
      const auto begin = std::strtoull(line.c_str(), &end, 16);
      most = std::max<std::size_t>(most, std::strtoull(end + 1, nullptr, 16) - begin);
    }
    return most;
  };
  const LiveProbe exits("guest_exits", kNoBudget), halts("guest_halts", kNoBudget);
  ASSERT_TRUE(exits.status().starts_with("attached")) << exits.status();
  const auto all = sizeof(vitald_guest_row) * VITALD_GUESTS * static_cast<std::size_t>(libbpf_num_possible_cpus());
  fmt::print("the largest map has {} KiB in our memory, all rows have {} KiB\n", largest() >> 10, all >> 10);
  EXPECT_GT(largest(), 0U);
  EXPECT_LT(largest(), all / 2);
}

}  // namespace
}  // namespace vitald
