// SPDX-License-Identifier: Apache-2.0
// Snapshot -> Prometheus' protobuf exposition: io.prometheus.client.MetricFamily messages, each with its length before
// it. Histograms whose bounds are powers of two are native ones (schema 0) beside their classic buckets; counters,
// histograms and summaries say since when they count.
// https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/snapshot.h"

namespace vitald {

// Keeps the finished messages of all that is no histogram: the steady state is a copy of them with the numbers put in.
// Histograms are written anew each time. Where series come or go only theirs are made or dropped. Not thread-safe.
class PromProto {
 public:
  PromProto();
  ~PromProto();
  PromProto(PromProto&&) noexcept;
  PromProto& operator=(PromProto&&) noexcept;

  // Makes `out` the messages of all batches, in the order of the text.
  void encode(const Snapshot& snapshot, std::string& out);

 private:
  struct Plan;
  std::unique_ptr<Plan> plan_;
};

}  // namespace vitald
