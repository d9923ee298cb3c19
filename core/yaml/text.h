// SPDX-License-Identifier: Apache-2.0
// What yaml-cpp takes without a word though it is a mistake, found in the text.
#pragma once

#include <yaml-cpp/yaml.h>

#include <cstddef>
#include <optional>
#include <string_view>

namespace vitald {

// The line (from 0) of the "---" that begins a second document, which YAML::Load() would silently leave out.
// Found in the text because YAML::LoadAll() never returns for some texts that are no YAML (",\xed\0\0").
// "---" at the start of a line cannot be part of a scalar (YAML 1.2, c-forbidden).
std::optional<std::size_t> second_yaml_document(std::string_view text);

// Where the quote begins that the end of the file, and not another quote, has ended: YAML::Load() takes all that
// follows, keys and all, as one text.
std::optional<YAML::Mark> unclosed_quote(const YAML::Node& document, std::string_view text);

}  // namespace vitald
