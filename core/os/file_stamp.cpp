// SPDX-License-Identifier: Apache-2.0
#include "core/os/file_stamp.h"

#include <sys/stat.h>

namespace vitald {

bool FileStamp::changed(const std::string& path, const Clock& clock) {
  constexpr std::int64_t kSecondNs = 1'000'000'000;
  struct stat st {};
  const bool found = ::stat(path.c_str(), &st) == 0;
  const auto mtime_ns = found ? st.st_mtim.tv_sec * kSecondNs + st.st_mtim.tv_nsec : std::int64_t{-1};
  const bool young = found && clock.wall_ns() - mtime_ns < kSecondNs;
  const bool same = !young_ && inode_ == st.st_ino && mtime_ns_ == mtime_ns && size_bytes_ == st.st_size;
  inode_ = st.st_ino;
  mtime_ns_ = mtime_ns;
  size_bytes_ = st.st_size;
  young_ = young;
  return !same;
}

}  // namespace vitald
