// SPDX-License-Identifier: Apache-2.0
// From a cgroup's path to whom it belongs. The path alone says so for every driver in use; names of pods come from the
// files that kubelet keeps for log shippers, names of guests from libvirt's state files, so no API and no runtime's
// socket is asked.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/host.h"
#include "core/owner.h"

namespace vitald {

// The labels owner_kind, owner and of namespace, pod, container, guest those that are known.
std::vector<Label> owner_labels(const Owner& owner);
inline constexpr std::string_view kOwnerLabels = "owner_kind,owner,namespace,pod,container,guest";

// By the path's grammar only: "/system.slice/ssh.service" is the unit ssh.service. Read from the root: what lies below
// a container's, a pod's or a guest's cgroup is theirs whatever it is called, for they may name it themselves.
// A path that was cut ends in "/...".
Owner owner_from_path(std::string_view path);

// The place that decides it, as numbers of names from the root; 0: there is none.
struct OwnerPlace {
  bool v1 = false;              // which of the two paths it is in
  std::uint8_t rank = 0;        // how much the owner's kind says
  std::size_t owned = 0;        // all below is the owner's, now and later: a container's, a guest's
  std::size_t responsible = 0;  // who may make owners below: a unit, a pod, a folder that nobody knows
};

// Of a task's cgroups on v2 and in a v1 hierarchy the one that says more: `docker exec` leaves a process in
// docker.service on v2. An empty path says nothing.
Owner owner_from_paths(std::string_view v2, std::string_view v1, OwnerPlace* place = nullptr);
// "/a/b" of "/a/b/c".
std::string_view first_names(std::string_view path, std::size_t names);

// What pods, containers and guests are called.
struct OwnerNames {
  struct Pod {
    std::string namespace_, pod;
  };
  struct Container {
    std::string namespace_, pod, container;
  };
  std::map<std::string, Pod, std::less<>> pods;              // by uid
  std::map<std::string, Container, std::less<>> containers;  // by id
  std::map<std::string, std::string, std::less<>> guests;    // domain's name by libvirt's number
  // All that run now, where that could be read: names of others need not be kept.
  std::optional<std::set<std::string, std::less<>>> running;
};

// Adds names to owners. Directories are read by whoever asks for it, since that may take its time: when an id was not
// known, at most every five seconds. Not thread-safe.
class OwnerResolver {
 public:
  // By what has been read. False when a name is not known and may come yet. A container without a name in a pod that
  // has one is taken for the pod's sandbox, which has no log, if it is `settled`: kubelet links a log a moment after
  // the container's first task ran.
  bool name(Owner& owner, bool settled = true);

  struct Wanted {
    bool kubelet = false;
    std::vector<Owner> guests;
    [[nodiscard]] bool nothing() const { return !kubelet && guests.empty(); }
  };
  // What name() did not find, when it is time to read again: at once for a guest that was never asked for.
  Wanted wanted(std::int64_t now_ns);
  static OwnerNames read(const Host& host, const Wanted& wanted);
  void take(OwnerNames names, const Wanted& wanted);

 private:
  bool name_in_pod(Owner& owner, bool settled);
  bool name_guest(Owner& owner);

  OwnerNames names_;
  Wanted wanted_;
  std::set<std::string, std::less<>> asked_;  // guests, by number
  std::int64_t read_ns_ = 0;
};

}  // namespace vitald
