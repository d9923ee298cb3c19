// SPDX-License-Identifier: Apache-2.0
// What a series is for whoever reads it. A label that is empty is none there, so `a{b=""}` and `a` are one series.
#pragma once

#include <string>
#include <string_view>

#include "core/layout.h"

namespace vitald {

// The series' text without the labels that are empty; `made` has it where that is another text.
std::string_view identity_of(const SeriesInfo& series, std::string& made);

}  // namespace vitald
