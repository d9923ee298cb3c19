// SPDX-License-Identifier: Apache-2.0
// Snapshot -> Prometheus text exposition, format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/)
// or OpenMetrics 1.0 (https://prometheus.io/docs/specs/om/open_metrics_spec/), which has exemplars.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/snapshot.h"

namespace vitald {

class FamilyOrders;

// Keeps a plan per set of batches: the text of every line in the order it leaves, with its last value. The
// steady state is one copy a line; only numbers that changed are written anew. Where series came or went, only their
// lines are made or dropped. Not thread-safe: one per thread that encodes.
class PromText {
 public:
  enum class Format : std::uint8_t {
    text,
    open_metrics,
    open_metrics_created,  // with a `_created` line for each counter, histogram and summary whose start is known
  };
  explicit PromText(Format format = Format::text);
  ~PromText();
  PromText(PromText&&) noexcept;
  PromText& operator=(PromText&&) noexcept;

  // Makes `out` the exposition of all batches for which `keep(collector name)` is true (no filter: all). One that was
  // used before keeps its memory.
  // Families sorted by name, series of a family by their label values, as node_exporter prints them.
  void encode(const Snapshot& snapshot, std::string& out, const std::function<bool(std::string_view)>& keep = {});

  // The last net: in the agent the guard (agent/pipeline/guard.h) has decided this before.
  // What the last encode() left out because another batch (the first by name) already gives it: the same
  // series, or the same family with another type. One sentence each; empty is normal.
  [[nodiscard]] std::span<const std::string> conflicts() const;

 private:
  struct Plan;
  Format format_;
  std::unique_ptr<FamilyOrders> orders_;
  std::vector<std::unique_ptr<Plan>> plans_;  // the last used one first
};

inline constexpr std::string_view kPromTextContentType = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace vitald
