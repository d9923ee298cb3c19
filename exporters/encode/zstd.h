// SPDX-License-Identifier: Apache-2.0
// Compression with Zstandard (RFC 8878) by the machine's libzstd, which is opened with the first use.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"

namespace vitald {

// absent, with the package to install, where the library is not there. Thread-safe.
Result<> zstd_usable();

// Replaces `out` by `text` as one frame, at level 1. Its buffers (0.6 MB) are allocated with the first use. Not
// thread-safe: one per thread.
class Zstd {
 public:
  Zstd();
  ~Zstd();
  Zstd(Zstd&&) noexcept;
  Zstd& operator=(Zstd&&) noexcept;
  Result<> compress(std::string_view text, std::string& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace vitald
