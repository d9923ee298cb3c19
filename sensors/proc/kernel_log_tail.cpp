// SPDX-License-Identifier: Apache-2.0
#include "sensors/proc/kernel_log_tail.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>

#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr std::string_view kHungTask = "hung_task", kDiskError = "disk_error", kFilesystemError = "filesystem_error",
                           kSoftLockup = "soft_lockup", kRcuStall = "rcu_stall", kMachineCheck = "machine_check",
                           kMemoryError = "memory_error", kMemoryFailure = "memory_failure",
                           kFirmwareError = "firmware_error";
constexpr std::array kKinds = {kDiskError,   kFilesystemError, kFirmwareError, kHungTask,  kMachineCheck,
                               kMemoryError, kMemoryFailure,   kRcuStall,      kSoftLockup};

// A record has 1 KiB of text and what stands around it (PRINTK_MESSAGE_MAX, 2 KiB since 6.10); more is EINVAL.
constexpr std::size_t kMostRecord = 8192;
constexpr std::size_t kMostName = 64;

// A program's name as the kernel has it (TASK_COMM_LEN - 1). Anybody may give one, and the kernel's line on a crash
// begins with it: "foo[4711]: segfault at 0 ip 000000000040112e sp ... error 6 in FILE[401000+1000]". So whatever tells
// a fault must stand nearer to the beginning than FILE can, and be longer than such a name or followed by what is none.
constexpr std::size_t kMostComm = 15, kMostBefore = 56;

bool is_near(std::string_view line, std::string_view mark) {
  return line.substr(0, kMostBefore).find(mark) != std::string_view::npos;
}

// A device's name ends where a character comes that may stand behind it; empty, where this is none.
std::string device_at(std::string_view text) {
  const auto name = text.substr(0, std::min(text.find_first_of(" ,:)\t"), kMostName));
  constexpr std::string_view kInNames = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_!/.";
  if (name.find_first_not_of(kInNames) != std::string_view::npos) return {};
  return std::string(name);
}

bool is_number(std::string_view text) { return parse_u64(text).has_value(); }

// "INFO: task kworker/u8:3:1234 blocked for more than 122 seconds." (check_hung_task, kernel/hung_task.c; since 6.18
// also "blocked in I/O wait for more than"). A name may have blanks and colons.
std::optional<KernelNews> hung_task(std::string_view line) {
  if (!take_prefix(line, "INFO: task ") || line.find(" for more than ") == std::string_view::npos) return std::nullopt;
  const auto end = line.rfind(" blocked ");
  if (end == std::string_view::npos) return std::nullopt;
  const auto who = line.substr(0, end);
  const auto colon = who.rfind(':');
  if (colon == std::string_view::npos || colon > kMostComm || !is_number(who.substr(colon + 1))) return std::nullopt;
  KernelNews news;
  news.kind = kHungTask;
  news.comm = who.substr(0, colon);
  news.pid = who.substr(colon + 1);
  return news;
}

// Floppies and discs: an error is mostly a drive that is empty.
bool is_of_removable(std::string_view device) {
  for (const std::string_view kind : {"fd", "sr"}) {
    auto rest = device;
    if (take_prefix(rest, kind) && is_number(rest)) return true;
  }
  return false;
}

// "I/O error, dev sda, sector 2048 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2" (blk_print_req_error,
// block/blk-mq.c; before 5.18 with "blk_update_request: ", before 5.5 "print_req_error: "; the first words are those
// of a status in blk_errors, block/blk-core.c),
// "critical medium error, dev sda, sector 8 ..." and
// "Buffer I/O error on dev dm-0, logical block 0, async page read" (buffer_io_error, fs/buffer.c), for disks
// that have no requests of their own. Only at the beginning of a line: behind it names stand that anybody may give, of
// a program that crashes or a USB device.
std::optional<KernelNews> disk_error(std::string_view line) {
  KernelNews news;
  news.kind = kDiskError;
  if (take_prefix(line, "Buffer I/O error on dev")) {
    take_prefix(line, "ice");  // "on device", before 4.0
    if (!take_prefix(line, " ")) return std::nullopt;
    news.device = device_at(line);
  } else {
    take_prefix(line, "blk_update_request: ") || take_prefix(line, "print_req_error: ");
    // Not those that say no fault of the disk: "operation not supported" (a discard it does not know), "reservation
    // conflict", before 6.3 "critical nexus" (another host has it), "critical space allocation" (a thin pool is full),
    // "zone resource".
    constexpr std::string_view kStatuses[] = {"I/O",           "critical medium",       "critical target",
                                              "timeout",       "recoverable transport", "protection",
                                              "device offline"};
    const bool target = line.starts_with("critical target");
    const bool known = std::ranges::any_of(kStatuses, [&line](std::string_view s) { return take_prefix(line, s); });
    if (!known || !take_prefix(line, " error, dev ") || line.find(", sector ") == std::string_view::npos)
      return std::nullopt;
    // What a disk does not know and says so late: a target error of a request that carries no data.
    if (target &&
        (line.find(":(DISCARD)") != std::string_view::npos || line.find(":(WRITE_ZEROES)") != std::string_view::npos))
      return std::nullopt;
    news.device = device_at(line);
  }
  if (news.device.empty() || is_of_removable(news.device)) return std::nullopt;
  return news;
}

// "EXT4-fs error (device sda1): ext4_find_entry:1455: inode #2: comm ls: reading directory lblock 0",
// "BTRFS error (device sda1): ...", "XFS (sda1): Corruption detected. Unmount and run xfs_repair",
// "XFS (sda1): log I/O error -5". Where such a text stands is near the beginning: names of files come behind it.
std::optional<KernelNews> filesystem_error(std::string_view line) {
  KernelNews news;
  news.kind = kFilesystemError;
  for (const std::string_view mark : {" error (device ", " critical (device "})
    if (const auto at = line.find(mark); at > 0 && at < 16) news.device = device_at(line.substr(at + mark.size()));
  auto rest = line;
  if (take_prefix(rest, "XFS (") &&
      (is_near(rest, "orruption") || is_near(rest, "I/O error") || is_near(rest, "hutting down filesystem")))
    news.device = device_at(rest);
  if (news.device.empty()) return std::nullopt;
  return news;
}

// "watchdog: BUG: soft lockup - CPU#2 stuck for 22s! [dd:4711]" (watchdog_timer_fn, kernel/watchdog.c)
std::optional<KernelNews> soft_lockup(std::string_view line) {
  take_prefix(line, "watchdog: ");  // since 4.12
  if (!take_prefix(line, "BUG: soft lockup - CPU#")) return std::nullopt;
  KernelNews news;
  news.kind = kSoftLockup;
  constexpr std::string_view kWho = "! [";
  if (const auto at = line.find(kWho); at != std::string_view::npos) {
    const auto who = line.substr(at + kWho.size());
    const auto colon = who.rfind(':');
    const auto end = who.rfind(']');
    if (colon != std::string_view::npos && end != std::string_view::npos && colon < end &&
        is_number(who.substr(colon + 1, end - colon - 1))) {
      news.comm = who.substr(0, std::min(colon, kMostName));
      news.pid = who.substr(colon + 1, end - colon - 1);
    }
  }
  return news;
}

// "rcu: INFO: rcu_sched self-detected stall on CPU", "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
// "... detected expedited stalls on CPUs/tasks: {" (kernel/rcu/tree_stall.h, tree_exp.h)
std::optional<KernelNews> rcu_stall(std::string_view line) {
  if (!line.starts_with("rcu: INFO: ") && !line.starts_with("INFO: rcu_")) return std::nullopt;
  if (!is_near(line, "detected stall") && !is_near(line, "detected expedited stall")) return std::nullopt;
  KernelNews news;
  news.kind = kRcuStall;
  return news;
}

// "mce: [Hardware Error]: Machine check events logged" (mce_notify_irq), where a decoder has them, and for each event
// that nobody decodes "mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 4: 9c00000000010090" (print_mce,
// arch/x86/kernel/cpu/mce/core.c; "... Machine Check Exception: 5 Bank 4: ..." for one that stopped the CPU), and then
// lines of the same event.
std::optional<KernelNews> machine_check(std::string_view line) {
  if (!take_prefix(line, "mce: [Hardware Error]: ")) return std::nullopt;
  const bool logged = line.starts_with("Machine check events logged");
  if (!logged && (!line.starts_with("CPU ") || !is_near(line, ": Machine Check"))) return std::nullopt;
  KernelNews news;
  news.kind = kMachineCheck;
  return news;
}

// "EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0 (channel:1 slot:0 page:0x1234 offset:0x0 ...)"
// (edac_raw_mc_handle_error, drivers/edac/edac_mc.c); CE was corrected, UE was not. Behind a program's name that looks
// like it comes "[4711]: segfault".
std::optional<KernelNews> memory_error(std::string_view line) {
  if (!take_prefix(line, "EDAC MC")) return std::nullopt;
  const auto controller = take_u64(line);
  if (!controller || !take_prefix(line, ": ") || !take_u64(line)) return std::nullopt;
  if (!take_prefix(line, " CE ") && !take_prefix(line, " UE ")) return std::nullopt;
  if (line.empty() || line.front() == '[') return std::nullopt;
  KernelNews news;
  news.kind = kMemoryError;
  news.device = fmt::format("mc{}", *controller);
  return news;
}

// "Memory failure: 0x12f3: recovery action for dirty LRU page: Recovered" (action_result, mm/memory-failure.c): a page
// that the hardware lost; "Ignored" and "Failed" for one that could not be given up.
std::optional<KernelNews> memory_failure(std::string_view line) {
  if (!take_prefix(line, "Memory failure: 0x") || !is_near(line, ": recovery action for ")) return std::nullopt;
  KernelNews news;
  news.kind = kMemoryFailure;
  return news;
}

// "{1}[Hardware Error]: event severity: corrected" (cper_estatus_print, drivers/firmware/efi/cper.c), once for each
// report of the firmware through ACPI's GHES; before it stands which source it was.
std::optional<KernelNews> firmware_error(std::string_view line) {
  if (!take_prefix(line, "{") || !take_u64(line) || !take_prefix(line, "}[Hardware Error]: event severity: "))
    return std::nullopt;
  KernelNews news;
  news.kind = kFirmwareError;
  return news;
}

void tell(int fd) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(fd, &one, sizeof one);  // full: it is readable already
}

}  // namespace

std::span<const std::string_view> kernel_news_kinds() { return kKinds; }

std::optional<std::uint64_t> kernel_record_number(std::string_view record) {
  const auto comma = record.find(',');
  if (comma == std::string_view::npos) return std::nullopt;
  record.remove_prefix(comma + 1);
  return take_u64(record);
}

// "3,1042,91823301,-;INFO: task foo:12 blocked for more than 120 seconds.\n SUBSYSTEM=block\n": facility * 8 + level,
// number, microseconds, flags; the text, in which control characters are \x0a; then lines with keys.
std::optional<KernelNews> kernel_news_of(std::string_view record) {
  const auto head_end = record.find(';');
  if (head_end == std::string_view::npos) return std::nullopt;
  auto head = record.substr(0, head_end);
  const auto priority = take_u64(head);
  if (!priority) return std::nullopt;
  auto line = record.substr(head_end + 1);
  line = line.substr(0, line.find('\n'));
  if (line.starts_with("vitald: ")) return std::nullopt;  // our last words: an alert is no second fault
  std::optional<KernelNews> news;
  for (const auto kind : {hung_task, disk_error, filesystem_error, soft_lockup, rcu_stall, machine_check, memory_error,
                          memory_failure, firmware_error})
    if ((news = kind(line))) break;
  if (!news) return std::nullopt;
  news->line = line;
  news->kernel = *priority / 8 == 0;
  return news;
}

Result<std::unique_ptr<KernelLogTail>> KernelLogTail::follow(const std::string& path, const Clock& clock) {
  Fd log(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!log && (errno == EPERM || errno == EACCES))
    return fail(
        Errc::denied,
        fmt::format("{}: may not be read; it takes CAP_SYSLOG where kernel.dmesg_restrict is 1, and a unit without "
                    "ProtectKernelLogs and PrivateDevices",
                    path),
        errno);
  if (!log) return fail(from_errno(path, errno));
  // Behind the newest: what was before has been told, or is of another boot's time.
  if (lseek(log.get(), 0, SEEK_END) < 0) return fail(from_errno(path + ": its end", errno));
  const int fd = log.get();
  return std::make_unique<KernelLogTail>(
      std::move(log), [fd](char* to, std::size_t most) { return ::read(fd, to, most); }, clock);
}

KernelLogTail::KernelLogTail(Fd wait_fd, Read read, const Clock& clock)
    : clock_(clock),
      wait_(std::move(wait_fd)),
      told_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      stop_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      read_(std::move(read)) {
  buffer_.resize(kMostRecord);
  for (const auto kind : kKinds) all_.kinds.emplace(kind, 0);
  sigset_t every, before;
  sigfillset(&every);
  pthread_sigmask(SIG_SETMASK, &every, &before);  // signals are for the main thread
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& e) {
    const MutexLock lock(mutex_);
    all_.problem = fmt::format("no thread to read with: {}", e.what());
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

KernelLogTail::~KernelLogTail() {
  tell(stop_.get());
  if (thread_.joinable()) thread_.join();
}

KernelLogTail::Taken KernelLogTail::take() {
  const MutexLock lock(mutex_);
  std::uint64_t times = 0;
  [[maybe_unused]] const auto got = ::read(told_.get(), &times, sizeof times);
  auto out = all_;
  all_.news.clear();
  return out;
}

void KernelLogTail::run() {
  pthread_setname_np(pthread_self(), "kernel-log");
  pollfd fds[] = {{stop_.get(), POLLIN, 0}, {wait_.get(), POLLIN, 0}};
  for (;;) {
    if (poll(fds, 2, -1) < 0 && errno != EINTR) break;
    if (fds[0].revents != 0) return;
    if (fds[1].revents == 0) continue;
    if (!read_some()) {
      const MutexLock lock(mutex_);
      if (!all_.problem.empty()) break;
      continue;
    }
    const timespec pause{0, kPauseNs};
    if (ppoll(fds, 1, &pause, nullptr) > 0) return;
  }
  tell(told_.get());  // the collector says why
}

bool KernelLogTail::read_some() {
  for (std::size_t n = 0; n < kBurst;) {
    const auto size = read_(buffer_.data(), buffer_.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return false;
    ++n;
    if (size < 0 && errno == EPIPE) continue;  // the gap in the numbers says how many
    if (size < 0 && errno == EINVAL) {         // longer than any there is; it has been passed
      const MutexLock lock(mutex_);
      ++all_.lost;
      if (next_) ++*next_;
      continue;
    }
    if (size <= 0) {
      const MutexLock lock(mutex_);
      all_.problem = size == 0 ? "/dev/kmsg: it has ended" : from_errno("/dev/kmsg", errno).text;
      return false;
    }
    const std::string_view record(buffer_.data(), static_cast<std::size_t>(size));
    const auto number = kernel_record_number(record);
    auto news = kernel_news_of(record);
    const MutexLock lock(mutex_);
    ++all_.records;
    if (number) {
      if (next_ && *number > *next_) all_.lost += *number - *next_;
      next_ = *number + 1;
    }
    if (!news) continue;
    news->boot_ns = clock_.boot_ns();
    count(std::move(*news));
    tell(told_.get());
  }
  return true;
}

void KernelLogTail::count(KernelNews news) {
  ++all_.kinds[news.kind];
  if (news.kind == kDiskError) {
    const bool room = all_.disk_errors.contains(news.device) || all_.disk_errors.size() < kMostDevices;
    ++all_.disk_errors[room ? news.device : std::string("other")];
  }
  if (all_.news.size() < kMostWaiting) all_.news.push_back(std::move(news));
  else ++all_.left_out;
}

}  // namespace vitald
