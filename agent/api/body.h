// SPDX-License-Identifier: Apache-2.0
// The body of a request that changes something: a flat JSON object or a form, as parameters either way; and JSON in the
// shape of Alertmanager's silences.
#pragma once

#include <string>
#include <string_view>

#include "agent/http/form.h"
#include "core/result.h"
#include "rules/silences.h"

namespace vitald {

// {"by": "me", "until": 12} -> by=me, until=12. Parameters of the URL come behind.
Result<Parameters> body_of(const Request& request);

// {"id", "matchers": [{"name", "value", "isRegex", "isEqual"}], "startsAt", "endsAt", "createdBy", "comment"}; without
// startsAt it begins now.
// Its regular expressions may take as much as Silences lets one have: not on the server's loop.
Result<Silence> parse_silence(std::string_view json, std::int64_t now_ms);

}  // namespace vitald
