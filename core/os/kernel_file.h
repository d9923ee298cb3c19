// SPDX-License-Identifier: Apache-2.0
// How /proc and /sys are read. A kernel file is no file: it has no size, it changes while it is read,
// and its text is produced by the read. So it is opened once and re-read with pread: opening it
// again would cost another 4 us (docs/performance.md). Where descriptors are few (core/os/descriptors.h) it is
// opened for every read.
//
// Opened O_NONBLOCK, so a FIFO or a device in place of an attribute gives nothing instead of hanging.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/os/fd.h"
#include "core/os/mount_watch.h"
#include "core/result.h"

namespace vitald {

class KernelFile {
 public:
  enum class Read : std::uint8_t {
    whole,          // one read gives all: sysfs attributes, single-record seq_files (stat, meminfo, netstat)
    records,        // seq_files of many records return at most a page a read: read on until it returns 0
                    // (mounts, interrupts; fs/seq_file.c seq_read_iter)
    short_records,  // the same, with records shorter than kShortRecord (vmstat, diskstats, udp): a read that leaves
                    // room for one in its page was the last. Finding that out by reading on costs as much as the
                    // first read where the kernel walks a table to its end (10 us for an empty /proc/net/udp).
    sysctl,         // /proc/sys zeroes as many bytes as are asked for: ask for few
  };

  static constexpr std::size_t kShortRecord = 512;

  KernelFile() = default;
  explicit KernelFile(std::string path, Read how = Read::whole) : path_(std::move(path)), how_(how) {}

  // The whole text. It lies in a buffer of this thread and is valid until the next read on this thread.
  // Opens on first use. An error on a descriptor that was kept, whichever it is, may be of what is no longer at the
  // path (a device that went, a FUSE server that died): then it is opened once more. Also after something was mounted
  // or unmounted, which may be over this path; but not for devices in /sys, where nobody does. Errors: gone (no such
  // file), denied, io.
  Result<std::string_view> read();

  // For a mount table, whose changes the kernel announces through poll(2) (mounts_poll, fs/proc_namespace.c):
  // true when none was since the last call, 0.5 us against 20 for reading it. False before the first read
  // and for files that are not the kernel's own.
  [[nodiscard]] bool mounts_unchanged();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] bool is_open() const { return static_cast<bool>(fd_); }
  void close() { fd_.reset(); }

 private:
  Result<std::string_view> read_open();
  std::string path_;
  Fd fd_;
  Read how_ = Read::whole;
  std::optional<bool> announces_;  // whether it is one of procfs
  MountsSince mounts_;             // it was opened
};

// For what is read once or rarely: open, read, close. The same buffer and the same errors.
Result<std::string_view> read_kernel_file(const std::string& path, KernelFile::Read how = KernelFile::Read::whole);

// A file that somebody wrote (configuration, rules, keys): all of it, or an error that names the file when it is
// larger than `max_bytes` or no regular file (/dev/null is an empty one). May block where the file lies on a network.
Result<std::string> read_text_file(const std::string& path, std::size_t max_bytes);

// Names in a directory without "." and "..", sorted bytewise. Errors: gone, denied, io.
Result<std::vector<std::string>> list_directory(const std::string& path);

// The target of a symbolic link; empty when there is none.
std::string read_link(const std::string& path);

}  // namespace vitald
