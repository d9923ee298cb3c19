// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/cgroup_source.h"

#include <algorithm>
#include <utility>

#include "core/log.h"

namespace vitald {
namespace {

// Loading reads the kernel's types: some milliseconds.
constexpr std::int64_t kFirstWaitNs = 15'000'000'000, kLongestWaitNs = 960'000'000'000;

}  // namespace

CgroupSource::CgroupSource(Load load, const Clock& clock) : load_(std::move(load)), clock_(clock) { this->load(); }

void CgroupSource::load() {
  again_ns_ = 0;
  auto made = load_();
  if (made && !paths_.empty())
    if (auto ok = (*made)->want(paths_); !ok) made = fail(ok.error());
  if (!made) return lost(made.error());
  iterator_ = std::move(*made);
  loaded_ns_ = clock_.boot_ns();
}

void CgroupSource::lost(const Error& why) {
  iterator_.reset();
  why_files_ = why.text;
  // What this kernel has not, or this process may not do, is so until a restart.
  if (why.kind == Errc::absent || why.kind == Errc::denied) {
    log::debug("cgroups are read file by file", {{"collector", "containers"}, {"err", why.text}});
    return;
  }
  const auto now = clock_.boot_ns();
  // One that served for as long as was waited for it failed for another reason.
  const bool served = loaded_ns_ != 0 && now - loaded_ns_ >= wait_ns_;
  wait_ns_ = wait_ns_ == 0 || served ? kFirstWaitNs : std::min(2 * wait_ns_, kLongestWaitNs);
  loaded_ns_ = 0;
  again_ns_ = now + wait_ns_;
  if (!std::exchange(said_, true))
    log::warn("the BPF iterator over cgroups failed: they are read file by file, and it is tried again",
              {{"collector", "containers"}, {"err", why.text}});
}

void CgroupSource::want(std::vector<std::string> paths) {
  paths_ = std::move(paths);
  if (!iterator_) return;
  if (auto ok = iterator_->want(paths_); !ok) lost(ok.error());
}

void CgroupSource::read(LeftOut& left_out) {
  if (!iterator_ && again_ns_ != 0 && clock_.boot_ns() >= again_ns_) load();
  if (!iterator_) return;
  if (auto ok = iterator_->read(left_out); !ok) return lost(ok.error());
  if (std::exchange(said_, false))
    log::info("cgroups are read by the BPF iterator again", {{"collector", "containers"}});
}

bool CgroupSource::get(std::size_t which, cgroup::Values& out, LeftOut& left_out) {
  return iterator_ && iterator_->get(which, out, left_out);
}

std::string CgroupSource::status() const {
  if (iterator_) return iterator_->knows_memory_stat() ? "by a BPF iterator" : "by a BPF iterator and memory.stat";
  return "by files: " + why_files_ + (again_ns_ != 0 ? "; the iterator is tried again" : "");
}

}  // namespace vitald
