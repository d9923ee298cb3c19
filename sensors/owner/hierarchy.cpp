// SPDX-License-Identifier: Apache-2.0
#include "sensors/owner/hierarchy.h"

#include <string>

#include "core/kernel_file.h"
#include "core/scan.h"

namespace vitald {
namespace {

// "9:cpu,cpuacct:/user.slice": the number of the v1 hierarchy with this controller, 0 when it is not on v1.
int v1_id(const Host& host, std::string_view controller) {
  const auto text = read_kernel_file(host.procfs("self/cgroup"));
  if (!text) return 0;
  std::string_view rest = *text;
  while (!rest.empty()) {
    std::string_view line = take_line(rest);
    const auto id = take_until(line, ':');
    std::string_view controllers = take_until(line, ':');
    while (!controllers.empty())
      if (take_until(controllers, ',') == controller) return parse_int<int>(id).value_or(0);
  }
  return 0;
}

// "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0"; empty when it is not mounted.
std::string v2_mount(const Host& host) {
  const auto text = read_kernel_file(host.procfs("self/mounts"), KernelFile::Read::records);
  if (!text) return {};
  std::string_view rest = *text;
  while (!rest.empty()) {
    std::string_view line = take_line(rest);
    take_word(line);
    const auto where = take_word(line);
    if (take_word(line) == "cgroup2") return std::string(where);
  }
  return {};
}

// Is any process in a v2 cgroup below the root?
bool v2_is_used(const Host& host) {
  const auto mount = v2_mount(host);
  if (mount.empty()) return false;
  const auto children = list_directory(mount);
  if (!children) return false;
  for (const auto& name : *children) {
    const auto events = read_kernel_file(mount + "/" + name + "/cgroup.events");
    if (events && events->starts_with("populated 1")) return true;
  }
  return false;
}

}  // namespace

std::string_view to_string(Hierarchy::Kind kind) {
  switch (kind) {
    case Hierarchy::Kind::v2: return "cgroup v2";
    case Hierarchy::Kind::cpuacct: return "cgroup v1 cpuacct";
    case Hierarchy::Kind::cpu: return "cgroup v1 cpu";
    case Hierarchy::Kind::memory: return "cgroup v1 memory";
  }
  return "";
}

Hierarchy cpu_hierarchy(const Host& host) {
  const int cpuacct = v1_id(host, "cpuacct"), cpu = v1_id(host, "cpu");
  if ((cpuacct == 0 && cpu == 0) || v2_is_used(host)) return {};
  if (cpuacct != 0) return {Hierarchy::Kind::cpuacct, cpuacct};
  return {Hierarchy::Kind::cpu, cpu};
}

Hierarchy memory_hierarchy(const Host& host) {
  const int memory = v1_id(host, "memory");
  if (memory == 0 || v2_is_used(host)) return {};
  return {Hierarchy::Kind::memory, memory};
}

}  // namespace vitald
