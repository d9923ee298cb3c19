// SPDX-License-Identifier: Apache-2.0
// A kernel file that several collectors read. Making the text is what costs (for /proc/stat the kernel adds
// up every interrupt over every CPU), so the collectors of one cycle share one read.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/host.h"
#include "core/os/kernel_file.h"
#include "core/result.h"

namespace vitald {

// One reader's end. Readers of the same Host and path share the text; all of them run on one thread, as
// the collectors of a pipeline do.
class SharedFile {
 public:
  SharedFile(const Host& host, std::string path);

  // A text that this reader has not had yet and that is not older than 10 ms, which is one cycle; read now
  // if there is none. Valid until any reader's next read(). Errors as KernelFile::read().
  Result<std::string_view> read();
  [[nodiscard]] const std::string& path() const;

 private:
  struct Text {
    explicit Text(std::string path) : file(std::move(path)) {}
    KernelFile file;
    std::string text;
    std::uint64_t generation = 0;
    std::int64_t read_boot_ns = 0;
  };
  static std::shared_ptr<Text> text_of(const Host& host, std::string path);

  const Host& host_;
  std::shared_ptr<Text> shared_;
  std::uint64_t had_ = 0;
};

}  // namespace vitald
