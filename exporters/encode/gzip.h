// SPDX-License-Identifier: Apache-2.0
// Compression of what clients are sent.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"

namespace vitald {

// Replaces `out` by what one gzip member has in it, `most` bytes at most. malformed: it is none, or has more.
Result<> gunzip(std::string_view packed, std::string& out, std::size_t most);

// Replaces `out` by `text` as one gzip member (RFC 1952), made by isa-l at level 1: a twelfth of what zlib's
// default costs, for a few percent more bytes (docs/performance.md). Its buffers (0.5 MB, of which a small text touches
// a fifth) are allocated once. Not thread-safe: one per thread.
class Gzip {
 public:
  Gzip();
  ~Gzip();
  Gzip(Gzip&&) noexcept;
  Gzip& operator=(Gzip&&) noexcept;
  Result<> compress(std::string_view text, std::string& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace vitald
