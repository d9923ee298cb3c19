// SPDX-License-Identifier: Apache-2.0
// The pages of docs/ that the binary writes itself.
#pragma once

#include <string>

namespace vitald {

// docs/metrics.md: what collectors declare, what the pipeline adds, and our own instruments.
std::string metrics_docs();
// docs/api.md: every endpoint.
std::string api_docs();

}  // namespace vitald
