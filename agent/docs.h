// SPDX-License-Identifier: Apache-2.0
// The pages of docs/ that the binary writes itself.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vitald {

// docs/metrics.md: what collectors declare, what the pipeline adds, and our own instruments.
std::string metrics_docs();
// The names of all families that docs/metrics.md lists; a * stands for what the kernel names.
std::vector<std::string_view> all_families();
// docs/api.md: every endpoint.
std::string api_docs();

}  // namespace vitald
