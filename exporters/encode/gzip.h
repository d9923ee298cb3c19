// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace vitald {

// Replaces `out` by `text` as one gzip member (RFC 1952), made by isa-l at level 1: ten times cheaper than
// zlib's default for about 13 % more bytes (docs/performance.md). Not thread-safe: one per thread.
class Gzip {
 public:
  Gzip();
  ~Gzip();
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;
  Result<> compress(std::string_view text, std::string& out);

 private:
  struct State;
  State* state_;
};

}  // namespace vitald
