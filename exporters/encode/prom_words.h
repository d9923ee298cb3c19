// SPDX-License-Identifier: Apache-2.0
// What Prometheus' text formats share: how help, label values and exemplars are written, and where a batch has them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/batch.h"

namespace vitald {

// `quotes`: they are escaped too, as OpenMetrics wants it. What no reader knows is mended.
void append_escaped_help(std::string& out, std::string_view help, bool quotes);
void append_escaped_value(std::string& out, std::string_view value);
// What follows a number: ` # {comm="fio"} 0.5 1700000000.123`.
std::string exemplar_text(const Exemplar& e);
// That of a number of the batch; null: it has none.
const Exemplar* exemplar_of(const Batch& batch, std::uint32_t value);

}  // namespace vitald
