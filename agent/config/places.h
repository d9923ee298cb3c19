// SPDX-License-Identifier: Apache-2.0
// Checks of values that were read speak of flags. Where the value stands in the file, people look for its line and key.
#pragma once

#include <span>
#include <string>

#include "agent/config/config.h"

namespace vitald {

// "--web.external-url: 'x' is no URL" as "vitald.yaml:4:17: web.external_url: 'x' is no URL", when `from_file` has that
// flag; as it is otherwise. Of a list the item is meant that the problem quotes, or its first.
std::string at_its_place(const std::string& problem, std::span<const Setting> from_file);

}  // namespace vitald
