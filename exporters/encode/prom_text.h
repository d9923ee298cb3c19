// SPDX-License-Identifier: Apache-2.0
// Snapshot -> Prometheus text exposition, format 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/snapshot.h"

namespace vitald {

// Keeps a plan (order of families, HELP and TYPE text) per set of layouts, so that the steady state is:
// copy the prefix, write the number, newline. Not thread-safe: one per thread that encodes.
class PromText {
 public:
  PromText();
  ~PromText();
  PromText(PromText&&) noexcept;

  // Appends the exposition of all batches for which `keep(collector name)` is true (no filter: all).
  // Families sorted by name, series of a family by their labels, as node_exporter prints them.
  void encode(const Snapshot& snapshot, std::string& out, const std::function<bool(std::string_view)>& keep = {});

 private:
  struct Plan;
  std::unique_ptr<Plan> plan_;
};

inline constexpr std::string_view kPromTextContentType = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace vitald
