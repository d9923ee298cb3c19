// SPDX-License-Identifier: Apache-2.0
// Every owner on this host, once, for all that count per owner: host.shared<OwnerTable>(). An owner lives while
// somebody holds it and some minutes longer; its name may come late, and then it is the same owner called otherwise, or
// one with another that was called so before. Any thread; names are read from their
// directories outside of the lock, by one at a time: who comes meanwhile goes on without.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/host.h"
#include "core/mutex.h"
#include "sensors/owner/hierarchy.h"
#include "sensors/owner/resolver.h"

namespace vitald {

// Of one task's cgroup on v2, and where the host has one, in the v1 hierarchy that is looked at.
struct CgroupPaths {
  std::string v2, v1;
  std::vector<std::uint64_t> v2_ids = {}, v1_ids = {};  // of each name's cgroup, as far as they are known
};

// The one of the two that says more, for people.
inline const std::string& cgroup_of(const CgroupPaths& paths) {
  return paths.v1.empty() || paths.v2 != "/" ? paths.v2 : paths.v1;
}

class OwnerTable {
 public:
  explicit OwnerTable(const Host& host);

  // How many owners besides "other" there may be at once, and how many more an hour may bring. As many as there may be
  // at once are not new in the first ten seconds, and those that there were within the hour are not.
  void set_limit(std::size_t limit, std::size_t new_per_hour = SIZE_MAX);

  // The owner by its cgroups, made when new; "other" where there is no room. Kept for some minutes.
  OwnerId of_paths(const CgroupPaths& paths);
  // Whose a process is now; "other" when it is gone.
  OwnerId of_pid(pid_t pid);
  // The same, and kept until as many release() as hold().
  OwnerId hold(const CgroupPaths& paths);
  void release(OwnerId id);
  // There is an owner of that name.
  [[nodiscard]] bool knows(const CgroupPaths& paths);

  // As it is called now. One that was dropped is "other", one that became one with another is that one.
  OwnerPtr at(OwnerId id) const;
  // Owners that were made, named or dropped since a version; `all` when that is too long ago to tell.
  struct Changes {
    std::uint64_t version = 0;
    bool all = false;
    std::vector<OwnerId> ids;
  };
  [[nodiscard]] Changes changes_since(std::uint64_t version) const;

  // Names that were not known, owners that nobody holds any more. To be called after new owners were made and before
  // they are shown: then they have their names from the start.
  void cycle(std::int64_t now_ns);

  // For one more owner, or there is one that nobody holds; and a new one may come.
  [[nodiscard]] bool has_room() const;

  struct Stats {
    std::size_t owners = 0;         // besides "other"
    std::uint64_t turned_away = 0;  // times that somebody became "other" for want of room
  };
  [[nodiscard]] Stats stats() const;

 private:
  using Key = std::pair<OwnerKind, std::string>;
  struct Entry {
    OwnerPtr named;
    Owner by_path;  // without the names that are looked up
    std::uint32_t holders = 0;
    std::int64_t made_ns = 0, idle_since_ns = 0;
    bool name_may_come = false;
    // A guest whose name was not looked up yet: its machine's may be another guest's as well.
    bool provisional = false;
  };
  static Key key_of(const Owner& owner, bool provisional);
  // The owner's name, and the place of one that is called so.
  struct Called {
    Owner by_path, owner;
    bool complete = false, provisional = false;
    std::map<Key, OwnerId>::iterator found;
  };
  Called called(const CgroupPaths& paths) REQUIRES(mutex_);
  OwnerId find_or_make(const CgroupPaths& paths, std::int64_t now_ns) REQUIRES(mutex_);
  [[nodiscard]] double may_come(std::int64_t now_ns) const REQUIRES(mutex_);
  OwnerId now_of(OwnerId id) const REQUIRES(mutex_);
  void call(Entry& entry, OwnerId id, Owner owner, bool provisional) REQUIRES(mutex_);
  void changed(OwnerId id) REQUIRES(mutex_);
  void name_unnamed(std::int64_t now_ns) REQUIRES(mutex_);
  void name_again(OwnerId id, std::int64_t now_ns) REQUIRES(mutex_);
  void drop_idle(std::int64_t now_ns, std::int64_t keep_ns) REQUIRES(mutex_);
  void forget(OwnerId id, OwnerId instead, std::int64_t now_ns) REQUIRES(mutex_);

  const Host& host_;
  const V1Hierarchy v1_;
  Mutex reading_;  // taken before mutex_, and never waited for
  mutable Mutex mutex_;
  OwnerResolver resolver_ GUARDED_BY(mutex_);
  std::size_t limit_ GUARDED_BY(mutex_) = 1024;
  std::size_t new_per_hour_ GUARDED_BY(mutex_) = SIZE_MAX;
  std::int64_t began_ns_ GUARDED_BY(mutex_);
  // How many may come, as of then; and names that were forgotten, with when.
  double may_come_ GUARDED_BY(mutex_) = 0;
  std::int64_t may_come_ns_ GUARDED_BY(mutex_) = 0;
  std::map<Key, std::int64_t> forgotten_ GUARDED_BY(mutex_);
  OwnerId next_ GUARDED_BY(mutex_) = kOtherOwner + 1;
  OwnerPtr other_ GUARDED_BY(mutex_);
  std::map<OwnerId, Entry> owners_ GUARDED_BY(mutex_);
  std::map<Key, OwnerId> by_name_ GUARDED_BY(mutex_);
  struct Gone {
    OwnerId instead;
    std::int64_t since_ns;
  };
  std::unordered_map<OwnerId, Gone> gone_ GUARDED_BY(mutex_);
  std::vector<OwnerId> unnamed_ GUARDED_BY(mutex_);
  std::deque<OwnerId> changes_ GUARDED_BY(mutex_);  // the last of them; the newest made version_
  std::uint64_t version_ GUARDED_BY(mutex_) = 1;
  std::uint64_t turned_away_ GUARDED_BY(mutex_) = 0;
  std::int64_t cycle_ns_ GUARDED_BY(mutex_) = 0;
};

}  // namespace vitald
