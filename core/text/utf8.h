// SPDX-License-Identifier: Apache-2.0
// Bytes from outside as UTF-8.
#pragma once

#include <string>
#include <string_view>

namespace vitald {

// The text with one U+FFFD in place of every run of bytes that are not part of valid UTF-8 (no overlong forms,
// no surrogates), as node_exporter does for names that come from outside.
std::string valid_utf8(std::string_view text);
bool is_valid_utf8(std::string_view text);
// With \xHH in place of each such byte, and of each backslash where there is any: two of them that differ stay two. Not
// so beside a valid one, which stays as it is and may look the same.
std::string escaped_utf8(std::string_view text);

// What may leave in the text format: valid UTF-8 without NUL, at which Prometheus' lexer ends.
bool is_fit_text(std::string_view text);
std::string fit_text(std::string_view text);

}  // namespace vitald
