// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

namespace vitald {

// The candidate that was probably meant: at most two letters (a third of a short word) away. Empty: none.
std::string_view closest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace vitald
