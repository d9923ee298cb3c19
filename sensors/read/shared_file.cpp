// SPDX-License-Identifier: Apache-2.0
#include "sensors/read/shared_file.h"

#include <map>
#include <mutex>
#include <utility>

namespace vitald {
namespace {

constexpr std::int64_t kFreshNs = 10'000'000;

}  // namespace

std::shared_ptr<SharedFile::Text> SharedFile::text_of(const Host& host, std::string path) {
  static std::mutex mutex;
  static std::map<std::pair<const Host*, std::string>, std::weak_ptr<Text>> texts;
  const std::scoped_lock lock(mutex);
  std::erase_if(texts, [](const auto& entry) { return entry.second.expired(); });
  auto& known = texts[{&host, path}];
  if (auto text = known.lock()) return text;
  auto text = std::make_shared<Text>(std::move(path));
  known = text;
  return text;
}

SharedFile::SharedFile(const Host& host, std::string path)
    : host_(host), shared_(text_of(host, std::move(path))), had_(shared_->generation) {}

Result<std::string_view> SharedFile::read() {
  const auto now_ns = host_.clock().boot_ns();
  if (had_ == shared_->generation || now_ns - shared_->read_boot_ns > kFreshNs) {
    const auto text = shared_->file.read();
    if (!text) return fail(text.error());
    shared_->text = *text;
    shared_->read_boot_ns = now_ns;
    ++shared_->generation;
  }
  had_ = shared_->generation;
  return std::string_view(shared_->text);
}

const std::string& SharedFile::path() const { return shared_->file.path(); }

}  // namespace vitald
