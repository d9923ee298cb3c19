// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace vitald {

// The line (from 0) of the "---" that begins a second document, which YAML::Load() would silently leave out.
// Found in the text because YAML::LoadAll() never returns for some texts that are no YAML (",\xed\0\0").
// "---" at the start of a line cannot be part of a scalar (YAML 1.2, c-forbidden).
std::optional<std::size_t> second_yaml_document(std::string_view text);

}  // namespace vitald
