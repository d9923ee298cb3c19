// SPDX-License-Identifier: Apache-2.0
// Lines of the kernel's log as kernels have written them; a log that floods, loses and ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <mutex>

#include "core/clock.h"
#include "sensors/proc/kernel_log_tail.h"
#include "tests/sensors/collector_cases.h"

namespace vitald {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(KernelLog, Cases) {
  check_cases(
      "kernel_log",
      {{"the files of another machine have no log", {}, "", "absent: /dev/kmsg: the files are of another machine"}});
}

TEST(KernelLog, WhatIsNews) {
  struct Case {
    const char* name;
    std::string_view line, kind, device, comm, pid;
  };
  const Case cases[] = {
      {"hung", "INFO: task dd:4711 blocked for more than 122 seconds.", "hung_task", "", "dd", "4711"},
      {"hung, a name with blanks and colons", "INFO: task kworker/u8:3:77 blocked for more than 120 seconds.",
       "hung_task", "", "kworker/u8:3", "77"},
      {"hung in I/O, 6.18", "INFO: task a b:9 blocked in I/O wait for more than 2 seconds.", "hung_task", "", "a b",
       "9"},
      {"who holds the lock is no second one", "INFO: task dd:4711 is blocked on a mutex likely owned by task cp:4712.",
       "", "", "", ""},
      {"hung, torn", "INFO: task dd", "", "", "", ""},
      {"hung, no number", "INFO: task dd:x blocked for more than 122 seconds.", "", "", "", ""},
      {"disk, 5.18", "I/O error, dev sda, sector 2048 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2",
       "disk_error", "sda", "", ""},
      {"disk, 5.10", "blk_update_request: critical medium error, dev nvme0n1, sector 8 op 0x1:(WRITE) flags 0x0",
       "disk_error", "nvme0n1", "", ""},
      {"disk, 4.19", "print_req_error: I/O error, dev sdb, sector 0", "disk_error", "sdb", "", ""},
      {"disk without requests", "Buffer I/O error on dev dm-0, logical block 0, async page read", "disk_error", "dm-0",
       "", ""},
      {"disk, long ago", "Buffer I/O error on device sdc1, logical block 12", "disk_error", "sdc1", "", ""},
      {"a discard that it does not know",
       "operation not supported error, dev sda, sector 8 op 0x9:(WRITE_ZEROES) flags 0x800", "", "", "", ""},
      {"a request that a target does not know", "critical target error, dev sda, sector 8 op 0x3:(DISCARD) flags 0x800",
       "", "", "", ""},
      {"zeroes that a target does not write",
       "blk_update_request: critical target error, dev sda, sector 8 op 0x9:(WRITE_ZEROES) flags 0x800", "", "", "",
       ""},
      {"a target that fails to read", "critical target error, dev sda, sector 8 op 0x0:(READ) flags 0x0", "disk_error",
       "sda", "", ""},
      {"another host has it, before 6.3", "critical nexus error, dev sdb, sector 0 op 0x1:(WRITE) flags 0x0", "", "",
       "", ""},
      {"another host has it", "reservation conflict error, dev sdb, sector 0 op 0x1:(WRITE) flags 0x0", "", "", "", ""},
      {"a path that is lost", "recoverable transport error, dev sdc, sector 64 op 0x0:(READ) flags 0x0", "disk_error",
       "sdc", "", ""},
      {"too late", "timeout error, dev nvme0n1, sector 64 op 0x0:(READ) flags 0x0", "disk_error", "nvme0n1", "", ""},
      {"no floppy", "blk_update_request: I/O error, dev fd0, sector 0 op 0x0:(READ) flags 0x0", "", "", "", ""},
      {"no disc", "Buffer I/O error on dev sr0, logical block 0, async page read", "", "", "", ""},
      {"a program's name that looks like it",
       "foo[4711]: segfault at 0 ip 0000000000401136 sp 00007ffd error 6 in x error, dev sda, sector 1[401000+1000]",
       "", "", "", ""},
      {"another's", "foo[4711]: segfault at 0 ip 0 sp 0 error 6 in I/O error, dev sda, sector 1[401000+1000]", "", "",
       "", ""},
      {"a program that is named like a lockup",
       "foo[4711]: segfault at 0 ip 0 sp 0 error 6 in BUG: soft lockup - CPU#1[401000+1000]", "", "", "", ""},
      {"a product that is named like it", "usb 1-1: Product: Buffer I/O error on dev sda", "", "", "", ""},
      {"a program whose name is how such a line begins",
       "I/O error, dev [4711]: segfault at 0 ip 0000000000401136 sp 00007ffd error 6 in x, sector 1[401000+1000]", "",
       "", "", ""},
      {"one that is named like a file system's line",
       " error (device [4711]: segfault at 0 ip 0000000000401136 sp 00007ffd12345678 error 6 in x[401000+1000]", "", "",
       "", ""},
      {"one that is named like XFS",
       "XFS (sda): a[4711]: segfault at 0 ip 0000000000401136 sp 00007ffd12345678 error 6 in I/O error[401000+1000]",
       "", "", "", ""},
      {"one that is named like a task",
       "INFO: task a[1]: segfault at 0 ip 0000000000401136 sp 00007ffd12345678 error 6 in x:1 blocked for more than 2",
       "", "", "", ""},
      {"one that is named like RCU",
       "rcu: INFO: [4711]: segfault at 0 ip 0000000000401136 sp 00007ffd12345678 error 6 in detected stalls[401000]",
       "", "", "", ""},
      {"not a disk's", "foo: error, dev null", "", "", "", ""},
      {"buffer, torn", "Buffer I/O error on dev", "", "", "", ""},
      {"ext4", "EXT4-fs error (device sda1): ext4_find_entry:1455: inode #2: comm ls: reading directory lblock 0",
       "filesystem_error", "sda1", "", ""},
      {"ext4 warns", "EXT4-fs warning (device sda1): ext4_multi_mount_protect:328: MMP interval 42 higher", "", "", "",
       ""},
      {"btrfs", "BTRFS error (device vdb1: state EA): unable to fixup (regular) error", "filesystem_error", "vdb1", "",
       ""},
      {"btrfs, worse", "BTRFS critical (device vdb): corrupt leaf", "filesystem_error", "vdb", "", ""},
      {"xfs", "XFS (dm-3): Corruption detected. Unmount and run xfs_repair", "filesystem_error", "dm-3", "", ""},
      {"xfs is mounted", "XFS (dm-3): Ending clean mount", "", "", "", ""},
      {"a file's name that looks like it", "foo: opened '/tmp/x error (device sda)'", "", "", "", ""},
      {"lockup", "watchdog: BUG: soft lockup - CPU#2 stuck for 22s! [dd:4711]", "soft_lockup", "", "dd", "4711"},
      {"lockup, long ago", "BUG: soft lockup - CPU#0 stuck for 23s! [a b:9]", "soft_lockup", "", "a b", "9"},
      {"stall", "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "rcu_stall", "", "", ""},
      {"stall, itself", "rcu: INFO: rcu_sched self-detected stall on CPU", "rcu_stall", "", "", ""},
      {"machine check that nobody decodes", "mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 4: 9c00000000010090",
       "machine_check", "", "", ""},
      {"machine check that stopped a CPU",
       "mce: [Hardware Error]: CPU 13: Machine Check Exception: 5 Bank 7: bd00000000100134", "machine_check", "", "",
       ""},
      {"machine checks that a decoder has", "mce: [Hardware Error]: Machine check events logged", "machine_check", "",
       "", ""},
      {"the second line of a machine check", "mce: [Hardware Error]: TSC 0 ADDR 1234 ", "", "", "", ""},
      {"its third", "mce: [Hardware Error]: PROCESSOR 0:606a6 TIME 1699868400 SOCKET 0 APIC 0 microcode d000375", "",
       "", "", ""},
      {"what machine checks there can be", "mce: CPU supports 20 MCE banks", "", "", "", ""},
      {"one that is named like it",
       "mce: [Hardware [4711]: segfault at 0 ip 0 sp 0 error 6 in CPU : Machine Check[1+1]", "", "", "", ""},
      {"corrected memory error",
       "EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0 (channel:1 slot:0 page:0x1234 offset:0x0 "
       "grain:32 syndrome:0x0 -  area:DRAM err_code:0000:009f)",
       "memory_error", "mc0", "", ""},
      {"memory error that was not",
       "EDAC MC12: 3 UE memory scrubbing error on any memory (page:0x0 offset:0x0 grain:8)", "memory_error", "mc12", "",
       ""},
      {"EDAC begins",
       "EDAC MC0: Giving out device to module skx_edac controller Skylake Socket#0 IMC#0: DEV 0000:64:0a.0 (INTERRUPT)",
       "", "", "", ""},
      {"one that is named like EDAC", "EDAC MC0: 1 CE [4711]: segfault at 0 ip 0 sp 0 error 6 in x[401000+1000]", "",
       "", "", ""},
      {"memory error, torn", "EDAC MC0: 1 CE ", "", "", "", ""},
      {"a page that was lost", "Memory failure: 0x12f3: recovery action for dirty LRU page: Recovered",
       "memory_failure", "", "", ""},
      {"one that could not be given up", "Memory failure: 0x5: recovery action for reserved kernel page: Ignored",
       "memory_failure", "", "", ""},
      {"who was killed for it", "Memory failure: 0x12f3: Sending SIGBUS to qemu:4711 due to hardware memory corruption",
       "", "", "", ""},
      {"what the firmware told", "{1}[Hardware Error]: event severity: corrected", "firmware_error", "", "", ""},
      {"who told it", "{1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 0", "", "", "", ""},
      {"one that is named like firmware",
       "{1}[Hardware Er[4711]: segfault at 0 ip 0 sp 0 error 6 in event severity: [1]", "", "", "", ""},
      {"what we said ourselves", "vitald: critical alert X{text=I/O error, dev sda, sector 1} = 1; load 1", "", "", "",
       ""},
      {"anything", "eth0: link up", "", "", "", ""},
      {"nothing", "", "", "", "", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto news = kernel_news_of(fmt::format("3,17,99,-;{}\n SUBSYSTEM=block\n DEVICE=b8:0\n", c.line));
    ASSERT_EQ(news.has_value(), !c.kind.empty());
    if (!news) continue;
    EXPECT_EQ(news->kind, c.kind);
    EXPECT_EQ(news->device, c.device);
    EXPECT_EQ(news->comm, c.comm);
    EXPECT_EQ(news->pid, c.pid);
    EXPECT_EQ(news->line, c.line);
    EXPECT_TRUE(news->kernel);
  }
  const auto by_program = kernel_news_of("11,17,99,-;INFO: task a:1 blocked for more than 2 seconds.");
  ASSERT_TRUE(by_program);
  EXPECT_FALSE(by_program->kernel);
  for (const std::string_view record : {"", ";", "x,1,2,-;INFO: task a:1 blocked for more than 2 seconds.", "3"})
    EXPECT_FALSE(kernel_news_of(record)) << record;
  EXPECT_EQ(kernel_record_number("6,339,5140900,-;text"), 339U);
  EXPECT_EQ(kernel_record_number("6"), std::nullopt);
}

// As /dev/kmsg answers.
class FakeLog {
 public:
  FakeLog() : readable_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE)) {}
  void say(std::string record) { put({0, std::move(record)}); }
  void fails(int err) { put({err, ""}); }
  std::ptrdiff_t read(char* to, std::size_t most) {
    std::uint64_t one;
    ++reads;
    const bool nothing = ::read(readable_.get(), &one, sizeof one) < 0;
    found_nothing = nothing;
    if (nothing) return errno = EAGAIN, -1;
    const std::scoped_lock lock(mutex_);
    const auto [err, text] = std::move(waiting_.front());
    waiting_.pop_front();
    if (err != 0) return errno = err, -1;
    const auto size = std::min(most, text.size());
    std::memcpy(to, text.data(), size);
    return static_cast<std::ptrdiff_t>(size);
  }
  [[nodiscard]] Fd fd() const { return Fd(dup(readable_.get())); }
  std::atomic<int> reads = 0;
  std::atomic<bool> found_nothing = false;  // by the last of them

 private:
  void put(std::pair<int, std::string> what) {
    {
      const std::scoped_lock lock(mutex_);
      waiting_.push_back(std::move(what));
    }
    const std::uint64_t one = 1;
    ASSERT_EQ(write(readable_.get(), &one, sizeof one), ssize_t{sizeof one});
  }
  Fd readable_;
  std::mutex mutex_;
  std::deque<std::pair<int, std::string>> waiting_;
};

bool news_within(const KernelLogTail& tail, int ms) {
  pollfd fd{tail.fd(), POLLIN, 0};
  return poll(&fd, 1, ms) == 1;
}

// Until it has looked at so many, since it reads on a thread of its own.
KernelLogTail::Taken after(KernelLogTail& tail, std::uint64_t records) {
  KernelLogTail::Taken all;
  for (int i = 0; i < 10'000; ++i) {
    auto taken = tail.take();
    taken.news.insert(taken.news.begin(), std::make_move_iterator(all.news.begin()),
                      std::make_move_iterator(all.news.end()));
    all = std::move(taken);
    if (all.records >= records || !all.problem.empty()) break;
    poll(nullptr, 0, 1);
  }
  return all;
}

TEST(KernelLog, OnlyNewsWakes) {
  FakeLog log;
  const SystemClock clock;
  KernelLogTail tail(
      log.fd(), [&](char* to, std::size_t most) { return log.read(to, most); }, clock);
  log.say("6,1,5,-;eth0: link up\n");
  EXPECT_EQ(after(tail, 1).records, 1U);
  EXPECT_FALSE(news_within(tail, 0)) << "a line that is no news brings no cycle";
  log.say("3,2,6,-;I/O error, dev sda, sector 1 op 0x0:(READ)\n");
  ASSERT_TRUE(news_within(tail, 10'000));
  const auto taken = tail.take();
  ASSERT_EQ(taken.news.size(), 1U);
  EXPECT_GT(taken.news[0].boot_ns, 0);
  EXPECT_THAT(taken.kinds, ElementsAre(Pair("disk_error", 1), Pair("filesystem_error", 0), Pair("firmware_error", 0),
                                       Pair("hung_task", 0), Pair("machine_check", 0), Pair("memory_error", 0),
                                       Pair("memory_failure", 0), Pair("rcu_stall", 0), Pair("soft_lockup", 0)));
  EXPECT_THAT(taken.disk_errors, ElementsAre(Pair("sda", 1)));
  EXPECT_FALSE(news_within(tail, 0)) << "it was taken";
  EXPECT_TRUE(tail.take().news.empty());
  // It tells before it reads once more and finds nothing.
  for (int i = 0; i < 10'000 && !log.found_nothing; ++i) poll(nullptr, 0, 1);
  ASSERT_TRUE(log.found_nothing);
  const auto before = log.reads.load();
  poll(nullptr, 0, 50);
  EXPECT_EQ(log.reads.load(), before) << "asleep while nothing is said";
}

TEST(KernelLog, WhatWasOverwrittenIsCounted) {
  FakeLog log;
  const SystemClock clock;
  KernelLogTail tail(
      log.fd(), [&](char* to, std::size_t most) { return log.read(to, most); }, clock);
  log.say("6,10,5,-;a\n");
  log.fails(EPIPE);
  log.say("6,25,5,-;b\n");
  log.fails(EINVAL);  // 26
  log.say("6,27,5,-;c\n");
  const auto taken = after(tail, 3);
  EXPECT_EQ(taken.records, 3U);
  EXPECT_EQ(taken.lost, 15U);
  EXPECT_EQ(taken.problem, "");
}

TEST(KernelLog, AFloodIsReadInPieces) {
  FakeLog log;
  const SystemClock clock;
  constexpr int kLines = 3 * KernelLogTail::kBurst;
  for (int i = 0; i < kLines; ++i)
    log.say(fmt::format("3,{},5,-;I/O error, dev sd{}, sector 1 op 0x0:(READ)\n", i, i % 100));
  const auto begin = clock.boot_ns();
  KernelLogTail tail(
      log.fd(), [&](char* to, std::size_t most) { return log.read(to, most); }, clock);
  for (int i = 0; i < 10'000 && log.reads < kLines; ++i) poll(nullptr, 0, 1);
  const auto taken = tail.take();
  EXPECT_GE(clock.boot_ns() - begin, 2 * KernelLogTail::kPauseNs);
  EXPECT_EQ(taken.news.size(), KernelLogTail::kMostWaiting);
  EXPECT_EQ(after(tail, kLines).kinds.at("disk_error"), static_cast<std::uint64_t>(kLines)) << "all are counted";
  EXPECT_EQ(taken.disk_errors.size(), KernelLogTail::kMostDevices + 1);
  EXPECT_TRUE(taken.disk_errors.contains("other"));
}

TEST(KernelLog, AnEndIsTold) {
  FakeLog log;
  const SystemClock clock;
  KernelLogTail tail(
      log.fd(), [&](char* to, std::size_t most) { return log.read(to, most); }, clock);
  log.fails(ENODEV);
  ASSERT_TRUE(news_within(tail, 10'000));
  EXPECT_EQ(tail.take().problem, "/dev/kmsg: No such device (ENODEV)");
}

TEST(KernelLog, WhatCannotBeFollowed) {
  const SystemClock clock;
  EXPECT_EQ(KernelLogTail::follow("/nonexistent", clock).error().kind, Errc::gone);
}

}  // namespace
}  // namespace vitald
