// SPDX-License-Identifier: Apache-2.0
// Snappy's block format (never the framed one), by libsnappy, which is opened with the first use: who pushes nothing
// has none of it in memory. Thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/result.h"

namespace vitald {

// Errc::absent: there is no libsnappy, the text names the package.
Result<> snappy_usable();
// `out` is made the block.
Result<> snappy_compress(std::string_view bytes, std::string& out);
// malformed: it is no block, or says that more than `most_bytes` are in it.
Result<> snappy_uncompress(std::string_view block, std::string& out, std::size_t most_bytes);

}  // namespace vitald
