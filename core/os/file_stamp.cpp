// SPDX-License-Identifier: Apache-2.0
#include "core/os/file_stamp.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>

namespace vitald {

bool FileStamp::changed(const std::string& path, const Clock& clock) {
  constexpr std::int64_t kSecondNs = 1'000'000'000, kGrainNs = 2 * kSecondNs;
  const auto ns = [](const timespec& t) { return t.tv_sec * kSecondNs + t.tv_nsec; };
  struct stat st {};
  const int error = ::stat(path.c_str(), &st) == 0 ? 0 : errno;
  const bool same = known_ && !young_ && error_ == error && status_.st_dev == st.st_dev &&
                    status_.st_ino == st.st_ino && status_.st_size == st.st_size &&
                    ns(status_.st_mtim) == ns(st.st_mtim) && ns(status_.st_ctim) == ns(st.st_ctim);
  young_ = error == 0 && clock.wall_ns() - std::max(ns(st.st_mtim), ns(st.st_ctim)) < kGrainNs;
  status_ = st;
  error_ = error;
  known_ = true;
  return !same;
}

}  // namespace vitald
