// SPDX-License-Identifier: Apache-2.0
// Which cgroups below one hierarchy's mount are those of containers, pods, guests and units. Walked once; from then on
// the kernel tells of folders that come and go (inotify(7): whoever makes a cgroup does so with mkdir(2)). Below a
// container's or a guest's nothing is looked for: it may call its own cgroups what it likes. Not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/clock.h"
#include "core/os/fd.h"
#include "core/owner.h"
#include "core/result.h"

namespace vitald {

class CgroupTree {
 public:
  struct Kinds {
    bool container = false, pod = false, guest = false, unit = false;
    [[nodiscard]] bool has(OwnerKind kind) const;
  };
  // At most so many folders are looked into, and so many cgroups found; of these so many inside units, where whoever
  // runs there may make as many as he likes.
  static constexpr std::size_t kMostFolders = 8192, kMostFound = 4096;
  static constexpr std::size_t kMostFoldersInUnits = 2048, kMostFoundInUnits = 1024;

  CgroupTree(std::string root, Kinds kinds, const Clock& clock);

  // True when others are there than last time. Errors: those of listing the root.
  Result<bool> refresh();

  struct Found {
    OwnerKind kind = OwnerKind::other;
    bool in_unit = false;
    bool operator==(const Found&) const = default;
  };
  // By their path below the root, "/kubepods.slice/...", in its order.
  [[nodiscard]] const std::map<std::string, Found>& found() const { return found_; }
  // Cgroups that were seen and had no room.
  [[nodiscard]] std::size_t left_out() const { return left_out_; }
  // The kernel tells of changes; otherwise all is walked again every 15 seconds.
  [[nodiscard]] bool is_told() const { return told_; }

 private:
  struct Folder {
    int watch = -1;
    bool in_unit = false;
  };
  Result<> walk_all();
  Result<> walk(const std::string& path, bool in_unit);
  void came(const std::string& path);
  void went(const std::string& path);
  bool read_news();

  const std::string root_;
  const Kinds kinds_;
  const Clock& clock_;
  Fd inotify_;
  bool told_ = false, changed_ = false;
  std::int64_t walked_ns_ = 0;
  std::size_t left_out_ = 0;
  std::map<std::string, Found> found_;
  std::map<std::string, Folder> folders_;  // that are looked into
  std::size_t found_in_units_ = 0, folders_in_units_ = 0;
  std::unordered_map<int, std::string> watched_;
};

}  // namespace vitald
