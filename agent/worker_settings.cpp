// SPDX-License-Identifier: Apache-2.0
#include "agent/worker_settings.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/collector.h"
#include "core/log.h"
#include "core/os/fd.h"
#include "core/os/memory_file.h"
#include "sensors/hwmon/readings.h"

namespace vitald {
namespace {

// Sealed: a worker that made it shorter would end the others (SIGBUS).
Fd make_memory() {
  Fd fd = memory_file("hwmon readings");
  if (fd && ftruncate(fd.get(), static_cast<off_t>(HwmonReadings::kBytes)) == 0 &&
      fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
    return fd;
  log::warn("hwmon and sensors read each chip for themselves", {{"err", std::strerror(errno)}});
  return {};
}

}  // namespace

WorkerSettings worker_settings(std::string_view collector, std::vector<std::string> arguments) {
  WorkerSettings settings;
  settings.collector = collector;
  settings.arguments = std::move(arguments);
  const auto entry = std::ranges::find(collector_list(), collector, &CollectorEntry::name);
  if (entry == collector_list().end() || entry->folder != "hwmon") return settings;
  static const Fd memory = make_memory();
  settings.memory = memory.get();
  settings.memory_variable = HwmonReadings::kVariable;
  return settings;
}

}  // namespace vitald
