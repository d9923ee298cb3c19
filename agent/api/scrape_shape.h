// SPDX-License-Identifier: Apache-2.0
// In which format and packing a scrape is answered: by Accept and Accept-Encoding, as client_golang decides it.
#pragma once

#include <string>
#include <string_view>

#include "exporters/encode/scrape_body.h"

namespace vitald {

enum class Packing : std::uint8_t { none, gzip, zstd };
inline constexpr std::size_t kPackings = 3;

struct ScrapeShape {
  ScrapeFormat format = ScrapeFormat::text;
  std::string content_type;
};

// `accept`: all lines of it as one list. The clause with the highest q that names a format which is here decides; where
// none does it is text. `*/*` is text.
ScrapeShape scrape_shape(std::string_view accept);

// Of the two ways in which the API answers: whether the clause with the highest q that names one of them names
// protobuf; of those with the same q the first. Wildcards are JSON.
bool prefers_protobuf(std::string_view accept);

// The coding with the highest q among those that are here; gzip before zstd where they are equal.
Packing scrape_packing(std::string_view accept_encoding, bool zstd);
std::string_view content_encoding(Packing packing);  // empty: none

}  // namespace vitald
