// SPDX-License-Identifier: Apache-2.0
// Reads OpenMetrics 1.0 (https://prometheus.io/docs/specs/om/open_metrics_spec/) as strictly as it is written, and
// decides which of the two text formats a text is in.
#pragma once

#include <string_view>

#include "core/result.h"
#include "sensors/read/exposition.h"

namespace vitald {

// What OpenMetrics has and the text format has not becomes what a scrape of 0.0.4 would show of it: `info`, `stateset`
// and the samples of a `gaugehistogram` are gauges, `unknown` is untyped, `_created` is since when its series counts
// and no series of its own, exemplars are checked and left out. Counters have their `_total` in the family's name.
// Errors: malformed, "line N: ...", with nothing of the text in them.
Result<Exposition> parse_open_metrics(std::string_view text);

// Whether the last line is the one with which OpenMetrics ends.
bool ends_as_open_metrics(std::string_view text);

// OpenMetrics where it ends so and is that; otherwise the text format, as node_exporter, for which that line is a
// comment, would read it. Who is neither is told what is wrong with it as what it says to be.
Result<Exposition> parse_any_exposition(std::string_view text);

}  // namespace vitald
