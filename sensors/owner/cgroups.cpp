// SPDX-License-Identifier: Apache-2.0
#include "sensors/owner/cgroups.h"

#include <sys/stat.h>

#include <cerrno>

#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr std::uint64_t kRootId = 1;  // the first inode of a hierarchy; that of a namespace's root is another

std::string_view controller_of(const V1Hierarchy& v1) {
  switch (v1.controller) {
    case V1Hierarchy::Controller::none: return "";
    case V1Hierarchy::Controller::cpuacct: return "cpuacct";
    case V1Hierarchy::Controller::cpu: return "cpu";
    case V1Hierarchy::Controller::memory: return "memory";
  }
  return "";
}

std::optional<std::uint64_t> inode(const std::string& path) {
  struct stat s {};
  if (stat(path.c_str(), &s) == 0) return s.st_ino;
  return errno == ENOENT ? std::optional<std::uint64_t>(0) : std::nullopt;
}

bool has_word(std::string_view words, std::string_view word) {
  while (!words.empty())
    if (take_until(words, ',') == word) return true;
  return false;
}

std::optional<bool> there(const std::string& root, std::string_view path, std::uint64_t id) {
  if (root.empty() || path.ends_with("/...")) return std::nullopt;
  const auto found = inode(root + std::string(path));
  return found ? std::optional(*found == id) : std::nullopt;
}

}  // namespace

// "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nosuid 0 0", "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0"
CgroupFolders::CgroupFolders(const Host& host, const V1Hierarchy& v1) {
  const auto controller = controller_of(v1);
  const auto text = read_kernel_file(host.procfs("self/mounts"), KernelFile::Read::records);
  if (!text) return;
  std::string_view rest = *text;
  while (!rest.empty()) {
    auto line = take_line(rest);
    take_word(line);
    const auto where = take_word(line), type = take_word(line), options = take_word(line);
    auto& root = type == "cgroup2" ? v2_ : v1_;
    const bool ours = type == "cgroup2" || (type == "cgroup" && !controller.empty() && has_word(options, controller));
    if (ours && root.empty() && inode(std::string(where)) == kRootId) root = where;
  }
}

std::optional<bool> CgroupFolders::on_v2(std::string_view path, std::uint64_t id) const { return there(v2_, path, id); }
std::optional<bool> CgroupFolders::gives(std::string_view controller) const {
  if (v2_.empty()) return std::nullopt;
  const auto text = read_kernel_file(v2_ + "/cgroup.subtree_control");
  if (!text) return std::nullopt;
  std::string_view rest = *text;
  for (auto word = take_word(rest); !word.empty(); word = take_word(rest))
    if (trim(word) == controller) return true;
  return false;
}
std::optional<bool> CgroupFolders::on_v1(std::string_view path, std::uint64_t id) const { return there(v1_, path, id); }

}  // namespace vitald
