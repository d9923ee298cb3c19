// SPDX-License-Identifier: Apache-2.0
// Characters where Go counts, prints and changes characters and not bytes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/text/runes.h"

namespace vitald::text_template {

std::size_t count_runes(std::string_view text);
// The first `count` characters.
std::string_view first_runes(std::string_view text, std::size_t count);

bool is_letter_or_digit(char32_t r);
bool is_word(char32_t r);   // letter, digit or _
bool is_print(char32_t r);  // of all spaces only the ASCII one
bool is_space(char32_t r);

// U+00E4, or U+00E4 'ä'.
std::string unicode_name(char32_t rune, bool with_character, int digits = 4);
inline std::string unicode_name(Rune r, bool with_character) { return unicode_name(r.rune, with_character); }

// As Go's strconv.Quote writes it; `ascii`: everything else as \u.
std::string quote(std::string_view text, bool ascii = false);
std::string quote_rune(char32_t rune, bool ascii = false);
// Go's strconv.Unquote of "text", `text` or 'c', quotes included. False when it is none.
bool unquote(std::string_view quoted, std::string& out);

}  // namespace vitald::text_template
