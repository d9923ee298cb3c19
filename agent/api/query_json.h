// SPDX-License-Identifier: Apache-2.0
// The answer of a query as Prometheus' HTTP API writes it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "agent/api/json.h"
#include "rules/query.h"

namespace vitald {

// `t_ms`: when samples of a vector or a scalar are of.
std::string query_json(const QueryAnswer& answer, std::int64_t t_ms, const Notes& notes = {});

// Leaves `limit` series of a vector or a matrix, where it is not 0. True: there were more.
bool truncate(QueryAnswer& answer, std::size_t limit);

// What the evaluation found odd, in Prometheus' words: ten of each kind, and how many more there were.
void add_annotations(Notes& notes, const QueryAnswer& answer, std::string_view query);

}  // namespace vitald
