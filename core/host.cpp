// SPDX-License-Identifier: Apache-2.0
#include "core/host.h"

#include <unistd.h>

#include <utility>

namespace vitald {
namespace {

std::string join(std::string_view root, std::string_view relative) {
  std::string path(root);
  if (relative.empty()) return path;
  if (path.empty() || path.back() != '/') path += '/';
  path += relative.substr(relative.front() == '/' ? 1 : 0);
  return path;
}

void strip_slashes(std::string& path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
}

}  // namespace

Host::Host(Roots roots, const Clock* clock)
    : roots_(std::move(roots)),
      clock_(clock ? clock : &system_clock_),
      ticks_(static_cast<double>(sysconf(_SC_CLK_TCK))),
      page_size_(sysconf(_SC_PAGESIZE)) {
  strip_slashes(roots_.proc);
  strip_slashes(roots_.sys);
  strip_slashes(roots_.root);
  strip_slashes(roots_.udev);
  view_ = look_at_host(roots_.proc, roots_.sys, roots_.root);
}

Host::~Host() {
  while (!in_order_of_making_.empty()) {
    in_order_of_making_.back()->reset();
    in_order_of_making_.pop_back();
  }
}

void* Host::shared_by(std::type_index type, MakeShared make) const {
  Shared* found;
  {
    const MutexLock lock(mutex_);
    found = &shared_[type];
  }
  // Not under mutex_: a T may ask for what it is made of. One that throws is made by the next who asks.
  std::call_once(found->once, [&] {
    found->object = make(*this);
    const MutexLock lock(mutex_);
    in_order_of_making_.push_back(&found->object);
  });
  return found->object.get();
}

std::string Host::procfs(std::string_view relative) const {
  // "net" is a link to "self/net".
  if (other_network() && relative.starts_with("net/")) return join(roots_.proc, "1/" + std::string(relative));
  return join(roots_.proc, relative);
}
std::string Host::sysfs(std::string_view relative) const { return join(roots_.sys, relative); }
std::string Host::rootfs(std::string_view relative) const { return join(roots_.root, relative); }
std::string Host::udev(std::string_view relative) const { return join(roots_.udev, relative); }

}  // namespace vitald
