// SPDX-License-Identifier: Apache-2.0
// What RFC 9112 wants refused and libmicrohttpd takes: where two readers of one request may disagree about where it
// ends or whom it is for, somebody smuggles a second one past a proxy.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace vitald {

// As the library found it in its buffer: the views point into it.
struct RawHead {
  struct Field {
    std::string_view name, value;
  };
  std::string_view after_method;  // up to the target, but for the one blank
  std::string_view version;       // "HTTP/1.1"
  std::string_view target;        // up to its first NUL, as it came
  std::size_t target_bytes = 0;   // how long it was before the library cut and decoded it
  std::vector<Field> fields;      // in order
  const char* end = nullptr;      // behind the empty line
};

// A Content-Length that the library does not understand: anything but digits, or more than 64 bits.
bool has_bad_length(const RawHead::Field& field);

// Why the request is refused; none: it is fine.
std::optional<std::string_view> malformed_head(const RawHead& head);

}  // namespace vitald
