// SPDX-License-Identifier: Apache-2.0
// Merge keys (`<<: *base`, `<<: [*base, *more]`), which Go's YAML resolves by itself and yaml-cpp does not: whoever
// moves a rule file here from Prometheus has them.
#pragma once

#include <yaml-cpp/yaml.h>

#include <functional>
#include <string>

namespace vitald {

// Puts what is merged in its place, all over the document: the map's own keys win, then the earlier of several maps.
// `say` gets what is wrong. False: more keys are merged than a file has any use for (aliases multiply), and the
// document is of no use.
bool merge_keys(const YAML::Node& document, const std::function<void(const YAML::Mark&, std::string)>& say);

}  // namespace vitald
