// SPDX-License-Identifier: Apache-2.0
// UTF-8 character by character, and their upper and lower case, as Go has them.
#pragma once

#include <clocale>
#include <cstddef>
#include <string>
#include <string_view>

namespace vitald {

struct Rune {
  char32_t rune = 0;
  std::size_t size = 0;  // in bytes; 0 at the end
  bool valid = true;     // else it stands for one byte that is no UTF-8
};
// U+FFFD for a byte that is no UTF-8.
Rune first_rune(std::string_view text);
void append_rune(std::string& out, char32_t rune);

// glibc has it built in; the process' own locale stays what it is. Null: there is none.
locale_t utf8_locale();
char32_t to_upper(char32_t r);
char32_t to_lower(char32_t r);

}  // namespace vitald
