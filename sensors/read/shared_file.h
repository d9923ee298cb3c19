// SPDX-License-Identifier: Apache-2.0
// A kernel file that several collectors read. Making the text is what costs (for /proc/stat the kernel adds
// up every interrupt over every CPU), so the collectors of one cycle share one read.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "core/host.h"
#include "core/mutex.h"
#include "core/os/kernel_file.h"
#include "core/result.h"

namespace vitald {

// One reader's end, for one thread at a time. Readers of the same Host and path share the text, whatever threads they
// are on: while one of them is stuck in the read, the others read by themselves.
class SharedFile {
 public:
  SharedFile(const Host& host, std::string path);

  // A text that this reader has not had yet and that is not older than 10 ms, which is one cycle; read now
  // if there is none. Valid until this reader's next read(). Errors as KernelFile::read().
  Result<std::string_view> read();
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  struct Text {
    explicit Text(std::string path) : file(std::move(path)) {}
    Mutex mutex;  // held during the read, so never waited for
    KernelFile file GUARDED_BY(mutex);
    std::string text GUARDED_BY(mutex);
    std::uint64_t generation GUARDED_BY(mutex) = 0;
    std::int64_t read_boot_ns GUARDED_BY(mutex) = 0;
  };
  struct Texts {
    Mutex mutex;
    std::map<std::string, std::weak_ptr<Text>, std::less<>> by_path GUARDED_BY(mutex);
  };
  static std::shared_ptr<Text> text_of(const Host& host, const std::string& path);

  const Host& host_;
  std::string path_;
  std::shared_ptr<Text> shared_;
  std::uint64_t had_ = 0;
  std::string mine_;  // a copy: another reader's thread may be writing the shared one anew
};

}  // namespace vitald
