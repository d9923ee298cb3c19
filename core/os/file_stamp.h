// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "core/clock.h"

namespace vitald {

// Whether a file or folder is another one than when it was last looked at: one stat(2), no read.
class FileStamp {
 public:
  // True on first use and when it came or went. A file's time has the grain of a timer tick: one that is younger than
  // a second may have changed again since, so it counts as changed the next time too. Ask before reading.
  bool changed(const std::string& path, const Clock& clock);
  [[nodiscard]] bool there() const { return mtime_ns_ >= 0; }  // when it was last looked at

 private:
  std::uint64_t inode_ = 0;
  std::int64_t mtime_ns_ = -2, size_bytes_ = -1;
  bool young_ = false;
};

}  // namespace vitald
