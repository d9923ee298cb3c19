// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace vitald {

// docs/metrics.md: what collectors declare, what the pipeline adds, and our own instruments.
std::string metrics_docs();

}  // namespace vitald
