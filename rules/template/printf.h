// SPDX-License-Identifier: Apache-2.0
// Go's package fmt for a template's values: Sprintf, Sprint, Sprintln.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "rules/template/value.h"

namespace vitald::text_template {

std::string go_printf(std::string_view format, std::span<const Value> args);
// A blank between two that are both no text.
std::string go_print(std::span<const Value> args);
// A blank between any two, a newline at the end.
std::string go_println(std::span<const Value> args);
// %v of one value.
std::string go_text(const Value& v);

// %v of a float64: the shortest that reads back, with an exponent below 1e-4 and from 1e6 on.
std::string go_float(double v);

}  // namespace vitald::text_template
