// SPDX-License-Identifier: Apache-2.0
// To whom something on this host belongs: a systemd unit, a container, a pod, a virtual machine.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/metric.h"

namespace vitald {

// 0 is "other": all that found no place of its own. Never used again for another owner in one run.
using OwnerId = std::uint32_t;
inline constexpr OwnerId kOtherOwner = 0;

enum class OwnerKind : std::uint8_t {
  unit,       // a systemd unit
  container,  // of docker, podman, containerd, CRI-O, LXC, nspawn
  pod,        // what runs in a pod's cgroup outside its containers, and its sandbox
  guest,      // a libvirt domain
  other,      // any other cgroup, by its path; and all that found no place of its own, as "other"
  host,       // the root cgroup: kernel threads, and everything on a host without cgroups
};

constexpr std::string_view to_string(OwnerKind kind) {
  switch (kind) {
    case OwnerKind::unit: return "unit";
    case OwnerKind::container: return "container";
    case OwnerKind::pod: return "pod";
    case OwnerKind::guest: return "guest";
    case OwnerKind::other: return "other";
    case OwnerKind::host: return "host";
  }
  return "other";
}

struct Owner {
  OwnerKind kind = OwnerKind::other;
  std::string name;  // unique within its kind
  // Filled where known.
  std::string namespace_, pod, container, guest;
  // Not labels: what the names are looked up by. A guest's is its number, from its machine's name.
  std::string container_id, pod_uid, guest_id;
  // The unit or user's folder inside of which this is: whoever runs that names it, so nothing else is believed of it.
  std::string within;
  // Of a container that has a name instead of an id: whose name that is, "machined", "lxc" or "libvirt". Another
  // manager's container of the same name is another one.
  std::string manager;

  bool operator==(const Owner&) const = default;
};

// An owner as it is called now. Called otherwise, it is another object with the same id.
struct NamedOwner {
  OwnerId id = kOtherOwner;
  Owner owner;
  std::vector<Label> labels;  // views into owner
};
using OwnerPtr = std::shared_ptr<const NamedOwner>;

}  // namespace vitald
