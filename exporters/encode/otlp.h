// SPDX-License-Identifier: Apache-2.0
// Snapshot -> OpenTelemetry's ExportMetricsServiceRequest (OTLP, protobuf), with Prometheus' names: counters are
// cumulative monotonic sums, histograms explicit ones, or exponential ones where the table has them as one row. What
// relabelling leaves of an explicit one are cumulative sums under their own names.
// https://opentelemetry.io/docs/specs/otlp/
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "exporters/encode/new_exemplars.h"
#include "exporters/encode/series_table.h"

namespace vitald {

// Keeps the finished requests; the steady state is one copy of each with numbers and times put in. Not thread-safe.
class OtlpEncoder {
 public:
  struct Resource {
    std::vector<std::pair<std::string, std::string>> attributes;
    std::string scope, version;  // who has measured
  };
  OtlpEncoder(Resource resource, std::size_t most_points);

  // Is given each request, how many points are in it, and of how many samples they are made: a histogram is one point.
  using Take = std::function<void(std::string_view body, std::uint32_t points, std::uint32_t samples)>;
  // `exemplars` ascend by row.
  void encode(const SeriesTable& table, std::span<const double> values, std::int64_t wall_ns, const Take& take,
              std::span<const RowExemplar> exemplars = {});
  // Points without a value, by which a server knows that a series has ended.
  void ended(std::span<const GoneSeries> gone, std::int64_t wall_ns, const Take& take) const;

 private:
  enum class Kind : std::uint8_t { time, number, bucket, count, padded_bucket };
  struct Place {
    std::uint32_t at = 0;               // in the bytes
    std::uint32_t row = 0;              // of its number, or where it is among the values
    std::uint32_t before = UINT32_MAX;  // of a bucket: the row of the one below
    Kind kind = Kind::time;
  };
  struct Chunk {
    std::string bytes;
    std::vector<Place> places;
    std::uint32_t points = 0, samples = 0;
  };
  struct Point;
  void build(const SeriesTable& table, std::int64_t wall_ns);
  static std::string with_exemplars(const Chunk& chunk, std::span<const RowExemplar> exemplars);
  [[nodiscard]] std::string wrapped(std::string_view metrics, std::vector<Place>& places) const;
  void append_point(const SeriesTable& table, const Point& point, std::int64_t wall_ns, std::string& out,
                    std::vector<Place>& places);
  void append_exponential(const SeriesTable& table, const SeriesRow& row, std::string& out,
                          std::vector<Place>& places) const;

  std::string resource_, scope_;
  std::size_t most_points_;
  std::uint64_t version_ = 0;
  std::vector<Chunk> chunks_;
  // Of one point, kept for their memory.
  std::string point_text_;
  std::vector<Place> point_places_;
};

}  // namespace vitald
