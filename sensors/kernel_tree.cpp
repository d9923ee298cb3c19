// SPDX-License-Identifier: Apache-2.0
#include "sensors/kernel_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace vitald {
namespace {

// struct linux_dirent64 (include/linux/dirent.h), which glibc knows as dirent64.
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
      if (name != "." && name != "..") names.append(name).push_back('\0');
      at += size;
    }
  }
}

}  // namespace

std::string KernelDir::file(std::string_view name) const { return path_ + "/" + std::string(name); }

Result<bool> KernelDir::refresh() {
  thread_local std::string now;
  for (;;) {
    const bool kept = static_cast<bool>(fd_);
    if (!kept) fd_.reset(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd_) {
      const int err = errno;
      names_.clear();
      listing_.clear();
      return fail(from_errno(path_, err));
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
  names_.clear();
  for (std::string_view rest = listing_; !rest.empty();) names_.emplace_back(take_until(rest, '\0'));
  std::ranges::sort(names_);
  return true;
}

std::optional<std::string_view> Attribute::text() {
  if (missing_) return std::nullopt;
  const auto text = file_.read();
  if (!text) {
    missing_ = text.error().err == ENOENT || text.error().err == ENOTDIR || text.error().err == EISDIR;
    return std::nullopt;
  }
  return trim(*text);
}

std::optional<std::uint64_t> Attribute::u64() {
  auto rest = text();
  if (!rest) return std::nullopt;
  if (take_prefix(*rest, "0x")) return parse_int<std::uint64_t>(*rest, 16);
  return parse_u64(*rest);
}

std::optional<double> Attribute::number() {
  auto rest = text();
  if (!rest) return std::nullopt;
  if (rest->starts_with('-')) {
    const auto n = parse_i64(*rest);
    return n ? std::optional(static_cast<double>(*n)) : std::nullopt;
  }
  const auto n = take_prefix(*rest, "0x") ? parse_int<std::uint64_t>(*rest, 16) : parse_u64(*rest);
  return n ? std::optional(static_cast<double>(*n)) : std::nullopt;
}

std::optional<std::int64_t> Attribute::i64() {
  const auto rest = text();
  return rest ? parse_i64(*rest) : std::nullopt;
}

}  // namespace vitald
