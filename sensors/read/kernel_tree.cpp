// SPDX-License-Identifier: Apache-2.0
#include "sensors/read/kernel_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "core/mutex.h"
#include "core/os/descriptors.h"
#include "core/os/kernel_fs.h"
#include "core/os/per_thread.h"
#include "sensors/read/no_reading.h"

namespace vitald {
namespace {

// struct linux_dirent64 (include/linux/dirent.h), which glibc knows as dirent64. Each name with its inode's number
// before it: one that went and came between two looks has another.
Result<> append_names(int fd, std::string& names) {
  alignas(dirent64) char buf[8192];
  for (;;) {
    const long n = ::syscall(SYS_getdents64, fd, buf, sizeof buf);
    if (n < 0) return fail(from_errno("getdents64", errno));
    if (n == 0) return {};
    for (long at = 0; at < n;) {
      const char* entry = buf + at;
      unsigned short size;
      std::memcpy(&size, entry + offsetof(dirent64, d_reclen), sizeof size);
      const std::string_view name = entry + offsetof(dirent64, d_name);
      if (name != "." && name != "..") {
        names.append(entry + offsetof(dirent64, d_ino), sizeof(dirent64::d_ino));
        names.append(name).push_back('\0');
      }
      at += size;
    }
  }
}

const SystemClock kSystemClock;

// Counts the kernel's announcements of devices. What they say does not matter, so nothing of it is kept.
class DeviceAnnouncements {
 public:
  DeviceAnnouncements() : fd_(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT)) {
    const int few_bytes = 4096;
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &few_bytes, sizeof few_bytes);
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    kernel.nl_groups = 1;  // the kernel's own; udev's are 2
    if (bind(fd_.get(), reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel) != 0) fd_.reset();
  }
  // Another number than before when there were any. The folders of one cycle share one look.
  std::uint64_t count(std::int64_t now_ns) {
    const MutexLock lock(mutex_);
    if (!fd_) return ++count_;
    if (now_ns >= looked_ns_ && now_ns - looked_ns_ < kOneCycleNs) return count_;
    looked_ns_ = now_ns;
    for (;;) {
      char ignored[16];  // a longer message is cut and gone
      if (recv(fd_.get(), ignored, sizeof ignored, 0) < 0) {
        if (errno == EAGAIN) return count_;
        if (errno != EINTR && errno != ENOBUFS) fd_.reset();  // ENOBUFS: more than fit
        if (!fd_) return ++count_;
      }
      ++count_;
    }
  }

 private:
  static constexpr std::int64_t kOneCycleNs = 1'000'000;
  Mutex mutex_;
  Fd fd_ GUARDED_BY(mutex_);
  std::uint64_t count_ GUARDED_BY(mutex_) = 1;
  std::int64_t looked_ns_ GUARDED_BY(mutex_) = 0;
};

// Of another tree the kernel announces nothing. A folder that is not there belongs to what is above it.
bool is_of_the_kernel(std::string folder) {
  struct statfs fs {};
  while (statfs(folder.c_str(), &fs) != 0) {
    const auto above = folder.rfind('/');
    if (errno != ENOENT || above == 0 || above == std::string::npos) return false;
    folder.resize(above);
  }
  return fs.f_type == SYSFS_MAGIC;
}

constexpr std::int64_t kMissingNs = 60'000'000'000;

// Wherever sysfs is mounted. Modules are announced as devices are (mod_sysfs_setup, kernel/module/sysfs.c). Below fs
// only bcache has devices: the links in /sys/fs/btrfs/UUID/devices come unannounced.
bool has_devices(std::string_view folder) {
  static constexpr std::string_view kFolders[] = {"/block", "/bus/", "/class/", "/devices/"};
  if (const auto fs = folder.find("/fs/"); fs != folder.npos) {
    auto name = folder.substr(fs + 4);
    return take_until(name, '/') == "bcache";
  }
  if (folder.ends_with("/module")) return true;
  return std::ranges::any_of(kFolders, [&](auto part) { return folder.find(part) != folder.npos; });
}

}  // namespace

DeviceWatch::DeviceWatch(const std::string& folder) : DeviceWatch(folder, kSystemClock) {}
DeviceWatch::DeviceWatch(const std::string& folder, const Clock& clock)
    : clock_(clock), announced_(has_devices(folder) && is_of_the_kernel(folder)) {}

bool DeviceWatch::changed() {
  if (!announced_) return true;
  static DeviceAnnouncements announcements;
  constexpr std::int64_t kLongNs = 5'000'000'000;
  const auto now_ns = clock_.boot_ns();
  const auto count = announcements.count(now_ns);
  if (count == seen_ && now_ns - seen_ns_ < kLongNs) return false;
  seen_ = count;
  seen_ns_ = now_ns;
  return true;
}

std::string KernelDir::file(std::string_view name) const { return path_ + "/" + std::string(name); }

Result<bool> KernelDir::refresh() {
  // Only that there is no such folder stays true until something is announced.
  const bool other = mounts_.changed(path_);
  if (other) fd_.reset();
  const bool again = watch_.changed() || other || (error_ && error_->kind != Errc::gone);
  if (!again) return error_ ? Result<bool>(fail(*error_)) : Result<bool>(false);
  const bool kept = static_cast<bool>(fd_);
  auto changed = list();
  if (fd_ && !may_keep_kernel_file(fd_.get())) fd_.reset();
  else if (fd_ && !kept && !is_of_kernel_fs(fd_.get(), path_ + "/")) fd_.reset();
  if (changed) {
    error_.reset();
  } else {
    error_ = changed.error();
    names_.clear();
    inodes_.clear();
    listing_.clear();
  }
  return changed;
}

Result<bool> KernelDir::list() {
  static const PerThread<std::string> scratch;
  auto& now = scratch.mine();
  for (;;) {
    const bool kept = static_cast<bool>(fd_);
    if (!kept) fd_.reset(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd_) {
      return fail(from_errno(path_, errno));
    }
    now.clear();
    if (kept) ::lseek(fd_.get(), 0, SEEK_SET);
    const auto listed = append_names(fd_.get(), now);
    if (listed && !now.empty()) break;
    // A removed folder gives ENOENT or nothing, and there may be a new one of that name: one that is empty is opened
    // again each time, which costs half of finding out that the kept one is not removed.
    fd_.reset();
    if (listed && !kept) break;
    if (!kept) return fail(Error{listed.error().kind, listed.error().err, path_ + ": " + listed.error().text});
  }
  if (now == listing_) return false;
  listing_ = now;
  struct Found {
    std::string_view name;
    std::uint64_t inode;
  };
  std::vector<Found> found;
  for (std::string_view rest = listing_; !rest.empty();) {
    std::uint64_t inode;
    static_assert(sizeof inode == sizeof(dirent64::d_ino));
    std::memcpy(&inode, rest.data(), sizeof inode);
    rest.remove_prefix(sizeof inode);
    found.push_back({take_until(rest, '\0'), inode});
  }
  std::ranges::sort(found, {}, &Found::name);
  names_.clear();
  inodes_.clear();
  for (const auto& entry : found) {
    names_.emplace_back(entry.name);
    inodes_.push_back(entry.inode);
  }
  return true;
}

std::optional<std::string_view> Attribute::text() {
  if (missing_until_ns_ != 0 && SystemClock::read(CLOCK_MONOTONIC_COARSE) < missing_until_ns_) return std::nullopt;
  const auto text = file_.read();
  if (!text) {
    const int err = text.error().err;
    const bool missing = err == ENOENT || err == ENOTDIR || err == EISDIR;
    missing_until_ns_ = missing ? SystemClock::read(CLOCK_MONOTONIC_COARSE) + kMissingNs : 0;
    error_.reset();
    if (!missing) error_ = text.error();
    return std::nullopt;
  }
  error_.reset();
  missing_until_ns_ = 0;
  return trim(*text);
}

std::optional<std::uint64_t> Attribute::u64() {
  bad_.reset();
  const auto found = text();
  if (!found) return std::nullopt;
  auto rest = *found;
  const auto n = take_prefix(rest, "0x") ? parse_int<std::uint64_t>(rest, 16) : parse_u64(rest);
  if (!n) bad_.emplace(*found);
  return n;
}

std::optional<double> Attribute::number() {
  bad_.reset();
  const auto found = text();
  if (!found) return std::nullopt;
  auto rest = *found;
  std::optional<double> number;
  if (rest.starts_with('-')) {
    if (const auto n = parse_i64(rest)) number = static_cast<double>(*n);
  } else {
    const auto n = take_prefix(rest, "0x") ? parse_int<std::uint64_t>(rest, 16) : parse_u64(rest);
    if (n) number = static_cast<double>(*n);
  }
  if (!number) bad_.emplace(*found);
  return number;
}

std::optional<Error> Attribute::no_number() const {
  // "N/A (no PMA)", "<unknown>", "Unknown": words for none.
  if (bad_ && (bad_->starts_with("N/A") || bad_->starts_with('<') || bad_->starts_with("Unknown"))) return std::nullopt;
  if (bad_) return malformed(path(), *bad_, "a number").value();
  if (!error_) return std::nullopt;
  if (means_no_number(error_->err)) return std::nullopt;
  return error_;
}

std::optional<std::int64_t> Attribute::i64() {
  bad_.reset();
  const auto found = text();
  if (!found) return std::nullopt;
  const auto n = parse_i64(*found);
  if (!n) bad_.emplace(*found);
  return n;
}

}  // namespace vitald
