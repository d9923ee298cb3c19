// SPDX-License-Identifier: Apache-2.0
// Snapshot -> the body of a scrape in each of the formats that a scraper may ask for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/snapshot.h"
#include "exporters/encode/open_metrics2.h"
#include "exporters/encode/prom_proto.h"
#include "exporters/encode/prom_text.h"
#include "exporters/encode/series_table.h"

namespace vitald {

enum class ScrapeFormat : std::uint8_t { text, open_metrics, open_metrics2, protobuf, json };
inline constexpr std::size_t kScrapeFormats = 5;

// Each format keeps what it needs from its first use on. Not thread-safe.
class ScrapeBody {
 public:
  // `created`: OpenMetrics has `_created` lines.
  explicit ScrapeBody(bool created) : created_(created) {}
  void encode(const Snapshot& snapshot, ScrapeFormat format, std::string& out);

 private:
  bool created_;
  PromText text_;
  std::optional<PromText> open_metrics_;
  std::optional<OpenMetrics2> open_metrics2_;
  std::optional<PromProto> protobuf_;
  std::optional<SeriesTable> table_;
  std::vector<double> values_;
};

}  // namespace vitald
