// SPDX-License-Identifier: Apache-2.0
// What the agent says of its collectors: a batch of its own, which tells also of those that hang with theirs.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "agent/pipeline/trouble.h"
#include "agent/worker/client.h"
#include "core/batch.h"

namespace vitald {

class HealthWriter {
 public:
  // The batch's name beside those of collectors.
  static constexpr std::string_view kName = "health";
  static std::span<const MetricDesc> metrics();

  void begin(std::int64_t boot_ns, std::int64_t wall_ns) { writer_.begin(boot_ns, wall_ns); }
  struct Row {
    std::string_view collector;
    bool ok = false;
    double duration_s = 0, cpu_s = 0, age_s = 0;
    const Trouble& trouble;
  };
  void on(const Row& row);
  void worker(std::string_view collector, const WorkerClient::Stats& stats);
  void not_on(std::string_view collector, bool ok);  // it should be
  [[nodiscard]] BatchPtr finish() { return writer_.finish({}, 0, 0); }

 private:
  BatchWriter writer_{std::string(kName)};
};

// The rows of those collectors only. `writer` keeps the layout from one call to the next.
BatchPtr health_of(const Batch& all, const std::function<bool(std::string_view collector)>& keep, BatchWriter& writer);

}  // namespace vitald
