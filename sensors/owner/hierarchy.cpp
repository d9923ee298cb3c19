// SPDX-License-Identifier: Apache-2.0
#include "sensors/owner/hierarchy.h"

#include "core/os/kernel_file.h"
#include "core/text/scan.h"

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

}  // namespace

std::string_view describe(const V1Hierarchy& v1) {
  switch (v1.controller) {
    case V1Hierarchy::Controller::none: return "cgroup v2";
    case V1Hierarchy::Controller::cpuacct: return "cgroup v2 and v1 cpuacct";
    case V1Hierarchy::Controller::cpu: return "cgroup v2 and v1 cpu";
    case V1Hierarchy::Controller::memory: return "cgroup v2 and v1 memory";
  }
  return "";
}

V1Hierarchy cpu_hierarchy(const Host& host) {
  if (const int id = v1_id(host, "cpuacct")) return {V1Hierarchy::Controller::cpuacct, id};
  if (const int id = v1_id(host, "cpu")) return {V1Hierarchy::Controller::cpu, id};
  return {};
}

V1Hierarchy memory_hierarchy(const Host& host) {
  if (const int id = v1_id(host, "memory")) return {V1Hierarchy::Controller::memory, id};
  return {};
}

}  // namespace vitald
