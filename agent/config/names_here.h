// SPDX-License-Identifier: Apache-2.0
// What families whose names the kernel brings along (node_memory_*, node_vmstat_*) are called on this machine, for
// --config.check.
#pragma once

#include <string>
#include <vector>

#include "core/host.h"
#include "core/options.h"

namespace vitald {

// Of collectors that read /proc in this process and are on; each is made, runs once and is gone. One that fails brings
// what it had until then.
std::vector<std::string> names_on(const Host& host, const Options& options);

}  // namespace vitald
