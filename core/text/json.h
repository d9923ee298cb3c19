// SPDX-License-Identifier: Apache-2.0
// Strings as JSON writes them.
#pragma once

#include <string>
#include <string_view>

namespace vitald {

// Appends `text` as a JSON string with its quotes (RFC 8259, section 7). Bytes that are not UTF-8 become U+FFFD.
void append_json_string(std::string& out, std::string_view text);

}  // namespace vitald
