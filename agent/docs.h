// SPDX-License-Identifier: Apache-2.0
// The pages of docs/ that the binary writes itself.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/options.h"
#include "rules/known_family.h"

namespace vitald {

// docs/metrics.md: what collectors declare, what the pipeline adds, and our own instruments.
std::string metrics_docs();
// All families that docs/metrics.md lists, and which of them nobody makes with these options. What they refer to stays.
std::vector<KnownFamily> all_families(const Options& options);
// docs/api.md: every endpoint.
std::string api_docs();

}  // namespace vitald
