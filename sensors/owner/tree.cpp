// SPDX-License-Identifier: Apache-2.0
#include "sensors/owner/tree.h"

#include <dirent.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "sensors/owner/resolver.h"

namespace vitald {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
// All is doubted once in a while: an inotify queue that ran over says so, a watch that could not be had does not.
constexpr std::int64_t kWalkAgainToldNs = 300 * kSecondNs, kWalkAgainNs = 15 * kSecondNs;
constexpr std::size_t kMostLevels = 64;
constexpr std::uint32_t kNews = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR;

std::size_t depth(std::string_view path) { return static_cast<std::size_t>(std::ranges::count(path, '/')); }

// What the cgroup itself is, where it is an owner's place, and whether there may be others' below it.
struct What {
  std::optional<OwnerKind> kind;
  bool look_below = true;
  bool in_unit = false;
};
What what_is(const std::string& path) {
  OwnerPlace place;
  const auto owner = owner_from_paths(path, {}, &place);
  const auto names = depth(path);
  if (place.owned == names) return {owner.kind, false, !owner.within.empty()};
  const bool in_unit = owner.kind == OwnerKind::unit && place.responsible > 0;
  if (place.responsible == names && (owner.kind == OwnerKind::pod || in_unit)) return {owner.kind, true, in_unit};
  return {{}, true, in_unit};
}

}  // namespace

bool CgroupTree::Kinds::has(OwnerKind kind) const {
  switch (kind) {
    case OwnerKind::container: return container;
    case OwnerKind::pod: return pod;
    case OwnerKind::guest: return guest;
    case OwnerKind::unit: return unit;
    case OwnerKind::other:
    case OwnerKind::host: return false;
  }
  return false;
}

CgroupTree::CgroupTree(std::string root, Kinds kinds, const Clock& clock)
    : root_(std::move(root)), kinds_(kinds), clock_(clock) {}

Result<bool> CgroupTree::refresh() {
  changed_ = false;
  const auto now = clock_.boot_ns();
  const bool again =
      walked_ns_ == 0 || (told_ && !read_news()) || now - walked_ns_ >= (told_ ? kWalkAgainToldNs : kWalkAgainNs);
  if (!again) return changed_;
  walked_ns_ = now;
  if (auto walked = walk_all(); !walked) {
    walked_ns_ = 0;
    return fail(std::move(walked.error()));
  }
  return changed_;
}

Result<> CgroupTree::walk_all() {
  const auto before = std::exchange(found_, {});
  folders_.clear();
  watched_.clear();
  left_out_ = found_in_units_ = folders_in_units_ = 0;
  inotify_.reset(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  told_ = static_cast<bool>(inotify_);
  auto walked = walk("", false);
  changed_ = changed_ || found_ != before;
  return walked;
}

// Watched before it is listed: what comes in between is told of, and found twice at worst.
Result<> CgroupTree::walk(const std::string& path, bool in_unit) {
  const auto old = folders_.find(path);
  if (old == folders_.end() && (folders_.size() >= kMostFolders || depth(path) >= kMostLevels ||
                                (in_unit && folders_in_units_ >= kMostFoldersInUnits))) {
    ++left_out_;
    return {};
  }
  const auto folder = root_ + path;
  const int watch = told_ ? inotify_add_watch(inotify_.get(), folder.c_str(), kNews) : -1;
  if (told_ && watch < 0 && errno != ENOENT && errno != ENOTDIR) told_ = false;  // fs.inotify.max_user_watches
  Handle<DIR, closedir> dir(opendir(folder.c_str()));
  if (!dir) return fail(from_errno(folder, errno));
  if (old == folders_.end() && in_unit) ++folders_in_units_;
  folders_[path] = {watch, in_unit};
  if (watch >= 0) watched_[watch] = path;
  std::vector<std::string> below;
  while (const auto* entry = readdir(dir.get()))
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') below.push_back(path + "/" + entry->d_name);
  dir.reset();  // not one open for each level
  for (const auto& name : below) came(name);
  return {};
}

void CgroupTree::came(const std::string& path) {
  const auto [kind, look_below, in_unit] = what_is(path);
  if (kind && kinds_.has(*kind) && !found_.contains(path)) {
    if (found_.size() >= kMostFound || (in_unit && found_in_units_ >= kMostFoundInUnits)) {
      ++left_out_;
    } else {
      found_[path] = {*kind, in_unit};
      found_in_units_ += in_unit ? 1 : 0;
      changed_ = true;
    }
  }
  // One that went meanwhile is told of by its parent's watch.
  if (look_below) (void)walk(path, in_unit);
}

void CgroupTree::went(const std::string& path) {
  const auto each_below = [&path](auto& map, auto&& forget) {
    for (auto it = map.lower_bound(path); it != map.end() && it->first.starts_with(path);) {
      if (it->first.size() > path.size() && it->first[path.size()] != '/') {
        ++it;
        continue;
      }
      forget(it->second);
      it = map.erase(it);
    }
  };
  each_below(found_, [&](const Found& f) {
    found_in_units_ -= f.in_unit ? 1 : 0;
    changed_ = true;
  });
  each_below(folders_, [&](const Folder& f) {
    folders_in_units_ -= f.in_unit ? 1 : 0;
    if (f.watch < 0) return;
    // A folder that was removed takes its watch with it; one that was moved (v1) does not.
    (void)inotify_rm_watch(inotify_.get(), f.watch);
    watched_.erase(f.watch);
  });
}

// False when all has to be walked again.
bool CgroupTree::read_news() {
  alignas(inotify_event) char buffer[16 * 1024];
  for (;;) {
    const auto size = read(inotify_.get(), buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return size < 0 && errno == EAGAIN;
    for (ssize_t at = 0; at < size;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      at += static_cast<ssize_t>(sizeof *event + event->len);
      if ((event->mask & IN_Q_OVERFLOW) != 0) return false;
      const auto folder = watched_.find(event->wd);
      if (folder == watched_.end()) continue;
      if ((event->mask & IN_IGNORED) != 0) {
        // The root itself went: all is another hierarchy now.
        if (folder->second.empty()) return false;
        watched_.erase(folder);
        continue;
      }
      if ((event->mask & IN_ISDIR) == 0 || event->len == 0) continue;
      const auto path = folder->second + "/" + event->name;
      if ((event->mask & (IN_DELETE | IN_MOVED_FROM)) != 0) went(path);
      else came(path);
    }
  }
}

}  // namespace vitald
