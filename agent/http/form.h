// SPDX-License-Identifier: Apache-2.0
// The parameters of a request wherever they stand: in the URL, or in a body that is a form.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/http/message.h"

namespace vitald {

using Parameters = std::vector<std::pair<std::string, std::string>>;

// application/x-www-form-urlencoded: "a=1&b=x+y%21". What is no escape stays as it is.
Parameters parse_form(std::string_view text);
// %41 and, where `plus` is set, + for a space.
std::string url_decoded(std::string_view text, bool plus);

// Those of the body, where it is a form, before those of the URL: the first one of a name counts, as in Go.
Parameters parameters_of(const Request& request);
std::vector<std::string_view> all(const Parameters& parameters, std::string_view name);
// The first of that name; empty where there is none.
std::string_view first(const Parameters& parameters, std::string_view name);

}  // namespace vitald
