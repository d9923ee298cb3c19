// SPDX-License-Identifier: Apache-2.0
// An explanation as JSON: what /api/v1/explain answers.
#pragma once

#include <string>

#include "rules/explain.h"

namespace vitald {

std::string explanation_json(const Explanation& explanation, const ExplainAsk& ask);

}  // namespace vitald
