// SPDX-License-Identifier: Apache-2.0
// A row of a table of metrics by its name, so that a row that is put between others moves nothing else.
#pragma once

#include <string_view>

#include "core/metric.h"

namespace vitald {

// A name that the table does not have does not compile.
template <class Table>
consteval const MetricDesc& row(const Table& table, std::string_view name) {
  for (const auto& desc : table)
    if (desc.name == name) return desc;
  throw "there is no such row";
}

}  // namespace vitald
