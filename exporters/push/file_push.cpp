// SPDX-License-Identifier: Apache-2.0
#include "exporters/push/file_push.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "core/os/fd.h"

namespace vitald {
namespace {

class FileDestination final : public Destination {
 public:
  FileDestination(const std::string& name, FileSettings settings)
      : settings_(std::move(settings)),
        counters_(name),
        temporary_(fmt::format("{}.{}.new", settings_.path, getpid())) {}

  Result<Sent> send(std::span<const Item> items, const Attempt&) override {
    const auto& item = items.back();  // the newest is what counts
    if (item.body.empty()) {
      if (unlink(settings_.path.c_str()) != 0 && errno != ENOENT) return fail(from_errno(settings_.path, errno));
    } else if (auto written = write(item.body); !written) {
      unlink(temporary_.c_str());
      return fail(written.error());
    }
    std::uint64_t samples = 0;
    for (const auto& i : items) samples += i.records;
    counters_.sent(samples);
    counters_.sent_bytes.Increment(static_cast<double>(item.body.size()));
    return Sent{items.size(), 0, 0};
  }

 private:
  Result<> write(const std::string& text) const {
    const Fd file(open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (!file) return fail(from_errno(temporary_, errno));
    fchmod(file.get(), 0644);  // whoever reads it is another user; the umask may say otherwise
    if (auto written = write_all(file.get(), text, temporary_); !written) return written;
    if (std::rename(temporary_.c_str(), settings_.path.c_str()) != 0) return fail(from_errno(settings_.path, errno));
    return {};
  }

  const FileSettings settings_;
  const PushCounters counters_;
  const std::string temporary_;
};

}  // namespace

std::unique_ptr<Destination> file_destination(const std::string& name, const FileSettings& settings) {
  return std::make_unique<FileDestination>(name, settings);
}

Result<std::string> file_reach(const std::string& path) {
  const auto folder = std::filesystem::path(path).parent_path().string();
  struct stat status {};
  if (stat(folder.c_str(), &status) != 0) return fail(from_errno(folder, errno));
  if (!S_ISDIR(status.st_mode)) return fail(Errc::absent, fmt::format("{} is no folder", folder));
  if (faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) != 0) return fail(from_errno(folder, errno));
  // What is no file is not replaced by one.
  if (lstat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISLNK(status.st_mode))
    return fail(Errc::malformed, fmt::format("{} is no regular file", path));
  return fmt::format("{} can be written", folder);
}

}  // namespace vitald
