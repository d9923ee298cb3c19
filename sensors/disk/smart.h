// SPDX-License-Identifier: Apache-2.0
// The collector `smart` with disks of somebody's own: for tests.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/collector.h"
#include "sensors/disk/door.h"

namespace vitald::disk {

using Open = std::function<Result<std::unique_ptr<Door>>(const std::string& path)>;
std::unique_ptr<Collector> make_smart(const Host& host, std::int64_t interval_ns, Open open);

}  // namespace vitald::disk
