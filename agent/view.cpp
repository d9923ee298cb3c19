// SPDX-License-Identifier: Apache-2.0
#include "agent/view.h"

#include <fmt/format.h>

namespace vitald {

std::vector<ViewRow> view_rows(const Host& host) {
  const auto& [proc, sys, root, udev] = host.roots();
  const auto& view = host.view();
  std::vector<ViewRow> rows;
  const auto add = [&](std::string_view of, bool seen, std::string yes, std::string no) {
    rows.push_back({of, seen, seen ? std::move(yes) : std::move(no)});
  };
  add("kernel", view.kernel, fmt::format("{} and {} are the running kernel's", proc, sys),
      fmt::format("{} and {} are not the running kernel's: only files are read; no probes, netlink or libsensors. Give "
                  "--path.procfs and --path.sysfs where the host's are mounted",
                  proc, sys));
  if (!view.kernel) return rows;
  add("network", view.network, "our network namespace is the host's",
      fmt::format("our network namespace is not that of {}: interfaces come from there and from {}/1/net, what only "
                  "netlink tells is left out (tcpstat, ethtool, qdisc, network_route, wifi, addresses, entries of "
                  "conntrack). Share it: hostNetwork: true, --network=host",
                  sys, proc));
  add("processes", view.processes, fmt::format("{} has all processes of the machine", proc),
      fmt::format("{} has only this container's processes, or hides others: hostPID: true, --pid=host, or mount the "
                  "host's /proc and give --path.procfs; with hidepid, the group that may see them",
                  proc));
  add("pids", view.pids, fmt::format("our PID namespace is that of {}", proc),
      fmt::format("our PID namespace is not that of {}: node_processes_max_processes, which since Linux 6.14 is each "
                  "namespace's own, is left out. Share it: hostPID: true, --pid=host",
                  proc));
  add("mounts", view.mounts, fmt::format("{} is the root of process 1", root),
      fmt::format(
          "{} is not the root of process 1: file systems that are not below it have device_error. Mount the "
          "host's / (mountPropagation: HostToContainer, --volume=/:/host/root:ro,rslave) and give --path.rootfs",
          root));
  return rows;
}

}  // namespace vitald
