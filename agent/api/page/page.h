// SPDX-License-Identifier: Apache-2.0
// The live page: one HTML file with its script and style in it, made by build.mjs and embedded packed.
#pragma once

#include "agent/http/message.h"

namespace vitald {

// 200 as the client takes it, or 304 where it has it already. Any thread.
Response live_page(const Request& request);

}  // namespace vitald
