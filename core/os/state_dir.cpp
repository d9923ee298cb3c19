// SPDX-License-Identifier: Apache-2.0
#include "core/os/state_dir.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr mode_t kFolder = 0700, kFile = 0600;
constexpr const char* kLock = "lock";
constexpr const char* kReserve = "reserve";
constexpr off_t kReserveBytes = 256 * 1024;  // some hundred transitions for some receivers, and the alerts

Result<Fd> open_folder(const std::string& path) {
  if (!path.starts_with('/'))
    return fail(Errc::malformed,
                fmt::format("'{}' is not an absolute path, expected one: a service starts in /", path));
  Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));  // a link is fine: DynamicUser= makes one
  if (!folder && errno == ENOTDIR)
    return fail(Errc::malformed, fmt::format("{} is no folder, expected one", path), ENOTDIR);
  if (!folder) return fail(from_errno(path, errno));
  struct stat st {};
  if (fstat(folder.get(), &st) != 0) return fail(from_errno(path, errno));
  if (st.st_uid != 0 && st.st_uid != geteuid())
    return fail(Errc::denied, fmt::format("{} belongs to user {}, expected ours ({}): chown {} {}", path, st.st_uid,
                                          geteuid(), geteuid(), path));
  if ((st.st_mode & S_IWOTH) != 0)
    return fail(Errc::denied, fmt::format("{} may be written by everybody (mode {:04o}), expected 0700: chmod 700 {}",
                                          path, st.st_mode & 07777, path));
  return folder;
}

std::string text_of(const Fd& file) {
  char text[32];
  const auto n = pread(file.get(), text, sizeof text, 0);
  return n > 0 ? std::string(trim(std::string_view(text, static_cast<std::size_t>(n)))) : std::string();
}

}  // namespace

Result<> write_all(int fd, std::string_view bytes, std::string_view what) {
  while (!bytes.empty()) {
    const auto n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(from_errno(what, errno));
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<std::size_t> read_at(int fd, std::size_t at, char* to, std::size_t count, std::string_view what) {
  std::size_t have = 0;
  while (have < count) {
    const auto n = pread(fd, to + have, count - have, static_cast<off_t>(at + have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(from_errno(what, errno));
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  return have;
}

Result<> sync_folder(const std::string& path) {
  const Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || fsync(folder.get()) != 0) return fail(from_errno(path, errno));
  return {};
}

Result<> StateDir::check(const std::string& path) {
  auto folder = open_folder(path);
  if (folder) {
    if (faccessat(folder->get(), ".", W_OK | X_OK, AT_EACCESS) == 0) return {};
    return fail(from_errno(path, errno));
  }
  if (folder.error().err != ENOENT) return fail(std::move(folder.error()));
  // It would be made.
  const auto parent = std::filesystem::path(path).parent_path().string();
  if (faccessat(AT_FDCWD, parent.c_str(), W_OK | X_OK, AT_EACCESS) == 0) return {};
  return fail(from_errno(parent, errno));
}

Result<std::unique_ptr<StateDir>> StateDir::open(const std::string& path) {
  if (path.starts_with('/') && mkdir(path.c_str(), kFolder) != 0 && errno != EEXIST)
    return fail(from_errno(path + ": mkdir", errno));
  auto folder = open_folder(path);
  if (!folder) return fail(std::move(folder.error()));
  Fd lock(openat(folder->get(), kLock, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, kFile));
  if (!lock) return fail(from_errno(fmt::format("{}/{}", path, kLock), errno));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail(from_errno(fmt::format("{}/{}: flock", path, kLock), errno));
    return fail(Errc::denied,
                fmt::format("{} is in use by process {}, expected to have it alone: one folder for each vitald", path,
                            text_of(lock)),
                EWOULDBLOCK);
  }
  // For that message only; on a full disk it is not worth an error.
  const auto pid = fmt::format("{}\n", getpid());
  if (ftruncate(lock.get(), 0) == 0) [[maybe_unused]]
    const auto n = pwrite(lock.get(), pid.data(), pid.size(), 0);
  auto opened = std::unique_ptr<StateDir>(new StateDir(path, std::move(*folder), std::move(lock)));
  opened->reserve();
  return opened;
}

bool StateDir::is_full(const Error& error) { return error.err == ENOSPC || error.err == EDQUOT; }

bool StateDir::make_room() const { return unlinkat(folder_.get(), kReserve, 0) == 0; }

// Never the last space there is: others on a nearly full disk need it more than we do for a bad moment.
void StateDir::reserve() const {
  struct stat st {};
  if (fstatat(folder_.get(), kReserve, &st, AT_SYMLINK_NOFOLLOW) == 0) return;
  struct statvfs fs {};
  if (fstatvfs(folder_.get(), &fs) != 0 || fs.f_bavail * fs.f_frsize < 4 * static_cast<std::uint64_t>(kReserveBytes))
    return;
  const Fd file(openat(folder_.get(), kReserve, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kFile));
  if (file && posix_fallocate(file.get(), 0, kReserveBytes) != 0) unlinkat(folder_.get(), kReserve, 0);
}

std::string StateDir::at(std::string_view name) const { return fmt::format("{}/{}", path_, name); }

Result<> StateDir::write(const std::string& name, std::string_view content) const {
  return write(name, [content](const Append& append) { return append(content); });
}

Result<> StateDir::write(const std::string& name, const std::function<Result<>(const Append& append)>& fill) const {
  // The same name each time: what a crash left is overwritten.
  const auto fresh = name + ".new";
  Fd file(openat(folder_.get(), fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, kFile));
  if (!file) return fail(from_errno(at(fresh), errno));
  auto written = fill([&](std::string_view bytes) { return write_all(file.get(), bytes, at(fresh)); });
  // Without fsync() the rename may reach the disk before the bytes do: an empty file after a power cut.
  if (written && fsync(file.get()) != 0) written = fail(from_errno(at(fresh), errno));
  if (written && renameat(folder_.get(), fresh.c_str(), folder_.get(), name.c_str()) != 0)
    written = fail(from_errno(at(name), errno));
  if (!written) {
    unlinkat(folder_.get(), fresh.c_str(), 0);  // its space is what others miss
    return written;
  }
  return sync_folder(std::filesystem::path(at(name)).parent_path().string());
}

Result<std::optional<StateDir::Reading>> StateDir::open_to_read(const std::string& name) const {
  Fd file(openat(folder_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file && errno == ENOENT) return std::optional<Reading>();
  if (!file) return fail(from_errno(at(name), errno));
  struct stat st {};
  if (fstat(file.get(), &st) != 0) return fail(from_errno(at(name), errno));
  if (!S_ISREG(st.st_mode)) return fail(Errc::malformed, fmt::format("{} is no file, expected one of ours", at(name)));
  return std::optional(Reading{std::move(file), static_cast<std::size_t>(st.st_size)});
}

Result<std::optional<std::string>> StateDir::read(const std::string& name, std::size_t most_bytes) const {
  const auto found = open_to_read(name);
  if (!found) return fail(found.error());
  if (!*found) return std::optional<std::string>();
  const auto& [file, bytes] = **found;
  if (bytes > most_bytes)
    return fail(Errc::malformed, fmt::format("{} has {} bytes, expected at most {}", at(name), bytes, most_bytes));
  std::string text(bytes, '\0');
  const auto have = read_at(file.get(), 0, text.data(), bytes, at(name));
  if (!have) return fail(have.error());
  text.resize(*have);
  return std::optional(std::move(text));
}

Result<std::string> StateDir::set_aside(const std::string& name) const {
  auto aside = name + ".damaged";
  if (renameat(folder_.get(), name.c_str(), folder_.get(), aside.c_str()) != 0)
    return fail(from_errno(at(name), errno));
  return at(aside);
}

Result<> StateDir::folder(const std::string& name) const {
  for (std::size_t slash = name.find('/');; slash = name.find('/', slash + 1)) {
    const auto part = name.substr(0, slash);
    if (mkdirat(folder_.get(), part.c_str(), kFolder) != 0 && errno != EEXIST) return fail(from_errno(at(part), errno));
    if (slash == name.npos) return {};
  }
}

}  // namespace vitald
