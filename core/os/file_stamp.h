// SPDX-License-Identifier: Apache-2.0
// Whether a file changed, without reading it.
#pragma once

#include <sys/stat.h>

#include <string>

#include "core/clock.h"

namespace vitald {

// Whether a file or folder is another one than when it was last looked at: one stat(2), no read. The time of the last
// change counts as well as that of the content: nobody can set that back, so a file that is rewritten in place with its
// old size and time (rsync -t --inplace, curl -R, touch -d) is seen.
class FileStamp {
 public:
  // True on first use and when it came or went. A file's time has the grain of a timer tick, or of two seconds: one
  // that is younger may have changed again since, so it counts as changed the next time too. Ask before reading.
  bool changed(const std::string& path, const Clock& clock);
  // When it was last looked at; why not is error().
  [[nodiscard]] bool there() const { return known_ && error_ == 0; }
  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] const struct stat& status() const { return status_; }

 private:
  struct stat status_ {};
  int error_ = 0;
  bool known_ = false, young_ = false;
};

}  // namespace vitald
