// SPDX-License-Identifier: Apache-2.0
#include "core/os/kernel_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <memory>

#include "core/os/descriptors.h"
#include "core/os/kernel_fs.h"
#include "core/os/per_thread.h"

namespace vitald {
namespace {

// One per thread, shared by every file: it stays in the cache, and text is parsed before the next read.
struct Scratch {
  std::size_t size = 16 * 1024;
  std::unique_ptr<char[]> data = std::make_unique_for_overwrite<char[]>(size);
  void grow() {
    auto larger = std::make_unique_for_overwrite<char[]>(size * 2);
    std::copy_n(data.get(), size, larger.get());
    data = std::move(larger);
    size *= 2;
  }
};
Scratch& scratch() {
  static const PerThread<Scratch> all;
  return all.mine();
}

constexpr std::size_t kSysctlBytes = 256;
// Above every real file (a /proc/interrupts of 1024 CPUs is about 4 MiB); a guard against an endless one.
constexpr std::size_t kMaxBytes = std::size_t{64} << 20;

int open_kernel_file(const std::string& path) {
  return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

// Whether a read that gave fewer bytes than it was asked for came to the end.
bool is_last(KernelFile::Read how, std::size_t got) {
  static const auto page_bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  switch (how) {
    case KernelFile::Read::records: return false;
    case KernelFile::Read::short_records: return got <= page_bytes - KernelFile::kShortRecord;
    default: return true;
  }
}

Result<std::string_view> read_descriptor(int fd, const std::string& path, KernelFile::Read how) {
  using Read = KernelFile::Read;
  Scratch& buf = scratch();
  std::size_t limit = how == Read::sysctl ? kSysctlBytes : buf.size;
  std::size_t have = 0;
  for (;;) {
    const std::size_t want = limit - have;
    // A pipe or socket in place of the file knows no offsets.
    ssize_t n = ::pread(fd, buf.data.get() + have, want, static_cast<off_t>(have));
    if (n < 0 && errno == ESPIPE) n = ::read(fd, buf.data.get() + have, want);
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail(from_errno(path, errno));
    }
    const auto got = static_cast<std::size_t>(n);
    have += got;
    if (got == 0 || (got < want && is_last(how, got))) return std::string_view(buf.data.get(), have);
    if (have < limit) continue;
    if (limit >= kMaxBytes) {
      buf = Scratch();  // not kept for files that are no larger than they should be
      return fail(Errc::io, path + ": does not end after 64 MiB");
    }
    limit *= 2;
    if (limit > buf.size) buf.grow();
    // Single-record files make their text for the offset 0 only: once more, with room for all of it.
    if (how == Read::whole || how == Read::sysctl) have = 0;
  }
}

}  // namespace

bool is_of_kernel_fs(int fd, std::string_view path) {
  struct statfs fs {};
  if (fstatfs(fd, &fs) != 0) return false;
  switch (static_cast<unsigned long>(fs.f_type)) {
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case SECURITYFS_MAGIC:
    case SELINUX_MAGIC:
    case RDTGROUP_SUPER_MAGIC:
    case PSTOREFS_MAGIC:
    case BPF_FS_MAGIC: return true;
    case FUSE_SUPER_MAGIC: return path.find("/proc/") != path.npos || path.find("/sys/") != path.npos;
    default: return false;
  }
}

Result<std::string_view> KernelFile::read_open() { return read_descriptor(fd_.get(), path_, how_); }

Result<std::string_view> KernelFile::read() {
  if (mounts_.changed(path_)) fd_.reset();
  const bool kept = is_open();
  if (!kept) fd_.reset(open_kernel_file(path_));
  if (!fd_) return fail(from_errno(path_, errno));
  auto text = read_open();
  if (!text && kept) {
    fd_.reset(open_kernel_file(path_));
    if (fd_) text = read_open();
  }
  // One that cannot be read is not kept, so that the next read is a new open and no second try.
  if (!text || !may_keep_kernel_file(fd_.get())) fd_.reset();
  else if (!kept && !is_of_kernel_fs(fd_.get(), path_)) fd_.reset();
  return text;
}

bool KernelFile::mounts_unchanged() {
  if (!fd_) return false;
  if (!announces_) {
    struct statfs fs {};
    announces_ = fstatfs(fd_.get(), &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
  }
  if (!*announces_) return false;
  pollfd p{fd_.get(), POLLPRI, 0};
  return ::poll(&p, 1, 0) == 0;
}

Result<std::string_view> read_kernel_file(const std::string& path, KernelFile::Read how) {
  const Fd fd(open_kernel_file(path));
  if (!fd) return fail(from_errno(path, errno));
  return read_descriptor(fd.get(), path, how);
}

Result<std::string> read_text_file(const std::string& path, std::size_t max_bytes) {
  const Fd fd(open_kernel_file(path));
  if (!fd) return fail(from_errno(path, errno));
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return fail(from_errno(path, errno));
  // A FIFO or a terminal has nothing to say when it is read again, and would count as an empty file.
  const bool is_null = S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);  // admin-guide/devices.txt
  if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !is_null)
    return fail(Errc::malformed, path + ": not a regular file");
  const auto too_large = [&](std::string_view size) {
    return fail(Errc::malformed, fmt::format("{}: {} bytes, expected at most {}", path, size, max_bytes));
  };
  const auto size = static_cast<std::size_t>(st.st_size);
  if (size > max_bytes) return too_large(std::to_string(size));
  std::string text(size + 1, '\0');  // one more, so that the end is seen without another round
  std::size_t have = 0;
  for (;;) {
    const ssize_t n = ::read(fd.get(), text.data() + have, text.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(from_errno(path, errno));
    have += static_cast<std::size_t>(n);
    if (have > max_bytes) return too_large(fmt::format("more than {}", max_bytes));
    if (n == 0) break;
    if (have == text.size()) text.resize(std::min(2 * have + 4096, max_bytes + 1));
  }
  text.resize(have);
  return text;
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
  const Handle<DIR, &closedir> dir{opendir(path.c_str())};
  if (!dir) return fail(from_errno(path, errno));
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(dir.get());
    if (!entry) {
      if (errno != 0) return fail(from_errno(path, errno));
      break;
    }
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::ranges::sort(names);
  return names;
}

std::string read_link(const std::string& path) {
  char target[PATH_MAX];
  const ssize_t n = ::readlink(path.c_str(), target, sizeof target);
  return n > 0 ? std::string(target, static_cast<std::size_t>(n)) : std::string();
}

}  // namespace vitald
