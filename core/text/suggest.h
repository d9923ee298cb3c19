// SPDX-License-Identifier: Apache-2.0
// What a misspelt word was probably meant to be.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace vitald {

// The nearest candidate that is at most `most` letters away (added, left out, changed or swapped); the first of
// several. Empty: none.
std::string_view closest(std::string_view word, std::span<const std::string_view> candidates, std::size_t most);
// At most two letters (a third of a short word) away.
std::string_view closest(std::string_view word, std::span<const std::string_view> candidates);

// "; did you mean 'x'?", or nothing when no candidate is near. For dotted names, of which only the last part counts.
std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace vitald
