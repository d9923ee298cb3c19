// SPDX-License-Identifier: Apache-2.0
#include "core/os/host_view.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <optional>
#include <string_view>
#include <utility>

#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

bool is_type(const std::string& path, decltype(statfs::f_type) type) {
  struct statfs fs {};
  return statfs(path.c_str(), &fs) == 0 && fs.f_type == type;
}

// A sysfs shows the devices of one network namespace and is one superblock for each (sysfs_init_fs_context,
// fs/sysfs/mount.c), wherever it is mounted.
bool same_device(const std::string& one, const std::string& other) {
  struct stat a {
  }, b{};
  return stat(one.c_str(), &a) == 0 && stat(other.c_str(), &b) == 0 && a.st_dev == b.st_dev;
}

// Files below /proc/PID/net are numbered once for each network namespace (proc_alloc_inum, fs/proc/generic.c), the
// same in every mount of proc. /proc/PID/ns/net would need CAP_SYS_PTRACE. Nothing where it is hidden (hidepid).
std::optional<bool> same_network(const std::string& proc) {
  struct stat theirs {
  }, ours{};
  if (stat((proc + "/1/net/dev").c_str(), &theirs) != 0 || stat("/proc/self/net/dev", &ours) != 0) return std::nullopt;
  return theirs.st_ino == ours.st_ino;
}

// Only the first PID namespace has the kernel's threads, and the one that makes them is number 2 (rest_init,
// init/main.c).
bool has_kernel_threads(const std::string& proc) {
  const auto name = read_kernel_file(proc + "/2/comm");
  return name && trim(*name) == "kthreadd";
}

// The number of the first PID namespace is fixed (PROC_PID_INIT_INO, include/linux/proc_ns.h).
bool in_first_pid_namespace() { return read_link("/proc/self/ns/pid") == "pid:[4026531836]"; }

// Superblock and folder of what is mounted at `path`, the topmost.
// "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue"
std::optional<std::pair<std::string, std::string>> mounted_at(const std::string& table, std::string_view path) {
  const auto text = read_kernel_file(table, KernelFile::Read::records);
  if (!text) return std::nullopt;
  std::optional<std::pair<std::string, std::string>> found;
  for (std::string_view rest = *text; !rest.empty();) {
    auto line = take_line(rest);
    std::string_view fields[5];
    for (auto& field : fields) field = take_until(line, ' ');
    if (fields[4] == path) found.emplace(fields[2], fields[3]);
  }
  return found;
}

}  // namespace

HostView look_at_host(const std::string& proc, const std::string& sys, const std::string& root) {
  HostView view;
  view.kernel = is_type(proc, PROC_SUPER_MAGIC) && is_type(sys, SYSFS_MAGIC);
  if (!view.kernel) return view;
  // Started with `ip netns exec` or PrivateNetwork=, its own namespace is what it was asked to show.
  view.network = same_device(sys, "/sys") && (proc == "/proc" || same_network(proc).value_or(true));
  view.processes = has_kernel_threads(proc);
  view.pids = !view.processes || in_first_pid_namespace();
  const auto theirs = mounted_at(proc + "/1/mountinfo", "/");
  view.mounts = theirs && theirs == mounted_at("/proc/self/mountinfo", root);
  return view;
}

}  // namespace vitald
