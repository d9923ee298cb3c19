// SPDX-License-Identifier: Apache-2.0
// From a cgroup's path to whom it belongs: a systemd unit, a container, a pod, a virtual machine. The path alone says
// so for every driver in use; names of pods come from the files that kubelet keeps for log shippers, so no API and
// no runtime socket is asked.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/host.h"
#include "core/metric.h"

namespace vitald {

enum class OwnerKind : std::uint8_t {
  unit,       // a systemd unit
  container,  // of docker, podman, containerd, CRI-O, LXC, nspawn
  pod,        // what runs in a pod's cgroup outside its containers, and its sandbox
  guest,      // a libvirt domain
  other,      // any other cgroup, by its path; and all that found no place of its own, as "other"
  host,       // the root cgroup: kernel threads, and everything on a host without cgroups
};
std::string_view to_string(OwnerKind kind);

struct Owner {
  OwnerKind kind = OwnerKind::other;
  std::string name;  // unique within its kind
  // Filled where known.
  std::string namespace_, pod, container, guest;
  // Not labels: what the names are looked up by.
  std::string container_id, pod_uid;

  bool operator==(const Owner&) const = default;
};

// The labels owner_kind, owner and of namespace, pod, container, guest those that are known.
std::vector<Label> owner_labels(const Owner& owner);
inline constexpr std::string_view kOwnerLabels = "owner_kind,owner,namespace,pod,container,guest";

// By the path's grammar only: "/system.slice/ssh.service" is the unit ssh.service.
Owner owner_from_path(std::string_view path);

// Adds the names of pods and containers. Reads the two directories again when an id is not in them, at most every
// five seconds.
class OwnerResolver {
 public:
  explicit OwnerResolver(const Host& host) : host_(host) {}
  Owner resolve(std::string_view path);

 private:
  struct PodName {
    std::string namespace_, pod;
  };
  struct ContainerName {
    std::string namespace_, pod, container;
  };
  void read_names();
  void name(Owner& owner) const;

  const Host& host_;
  std::int64_t read_boot_ns_ = 0;
  std::map<std::string, PodName, std::less<>> pods_;              // by uid
  std::map<std::string, ContainerName, std::less<>> containers_;  // by id
};

}  // namespace vitald
