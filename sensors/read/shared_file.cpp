// SPDX-License-Identifier: Apache-2.0
#include "sensors/read/shared_file.h"

#include <utility>

namespace vitald {
namespace {

constexpr std::int64_t kFreshNs = 10'000'000;

}  // namespace

std::shared_ptr<SharedFile::Text> SharedFile::text_of(const Host& host, const std::string& path) {
  auto& texts = host.shared<Texts>();
  const MutexLock lock(texts.mutex);
  std::erase_if(texts.by_path, [](const auto& entry) { return entry.second.expired(); });
  auto& known = texts.by_path[path];
  if (auto text = known.lock()) return text;
  auto text = std::make_shared<Text>(path);
  known = text;
  return text;
}

SharedFile::SharedFile(const Host& host, std::string path)
    : host_(host), path_(std::move(path)), shared_(text_of(host, path_)) {
  if (!shared_->mutex.try_lock()) return;
  const MutexLock lock(shared_->mutex, std::adopt_lock);
  had_ = shared_->generation;
}

Result<std::string_view> SharedFile::read() {
  if (!shared_->mutex.try_lock()) return read_kernel_file(path_);
  const MutexLock lock(shared_->mutex, std::adopt_lock);
  const auto now_ns = host_.clock().boot_ns();
  if (had_ == shared_->generation || now_ns - shared_->read_boot_ns > kFreshNs) {
    const auto text = shared_->file.read();
    if (!text) return fail(text.error());
    shared_->text = *text;
    shared_->read_boot_ns = now_ns;
    ++shared_->generation;
  }
  had_ = shared_->generation;
  mine_ = shared_->text;
  return std::string_view(mine_);
}

}  // namespace vitald
