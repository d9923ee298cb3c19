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

// Keeps the finished requests; the steady state is one copy of each with numbers and times put in. Where series come or
// go only their points are made or dropped. Not thread-safe.
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
    std::uint32_t begin = 0;  // where the request begins in them
    std::vector<Place> places;
    std::uint32_t points = 0, samples = 0;
    [[nodiscard]] std::string_view request() const { return std::string_view(bytes).substr(begin); }
  };
  // One row, or the rows [row, row + count) of a histogram: its buckets, its sum and its count.
  struct Point {
    std::uint32_t row = 0, count = 1;
    std::uint32_t field = 0;  // of the metric: of which kind it is
    bool monotonic = true;    // of a sum
    // Where it is encoded already, and its places; kFresh: among those that are new.
    std::uint32_t chunk = kFresh, at = 0, size = 0, place = 0, places = 0;
    static constexpr std::uint32_t kFresh = UINT32_MAX;
    [[nodiscard]] bool histogram() const;
  };
  static std::string_view name_of(const SeriesTable& table, const Point& point);
  // Those of the rows from `row` on, sorted.
  [[nodiscard]] static std::vector<Point> points_from(const SeriesTable& table, std::uint32_t row);
  // False: that is not possible.
  [[nodiscard]] bool follow(const SeriesTable& table, const RowChange& change);
  // Chunks of points_; those that are encoded already are taken from the chunks of before, where now_ is their rows.
  void assemble(const SeriesTable& table, std::int64_t wall_ns);
  void append_metric(const SeriesTable& table, std::span<Point> points, const std::vector<Chunk>& before,
                     const Chunk& fresh, std::uint32_t chunk_index, Chunk& chunk);
  static std::string with_exemplars(const Chunk& chunk, std::span<const RowExemplar> exemplars);
  // What stands before so many bytes of metrics.
  [[nodiscard]] std::string head_of(std::size_t metrics) const;
  static bool same_metric(const SeriesTable& table, const Point& a, const Point& b);
  void append_point(const SeriesTable& table, const Point& point, std::int64_t wall_ns, Chunk& to);
  void append_exponential(const SeriesTable& table, const SeriesRow& row, std::string& out,
                          std::vector<Place>& places) const;

  std::string resource_, scope_;
  std::size_t most_points_;
  std::uint64_t version_ = 0;
  std::vector<Chunk> chunks_;
  std::vector<Point> points_;       // sorted by name, in the order of their rows where that is the same
  std::vector<std::uint32_t> now_;  // of the rows before: which it is now, or kGone; of follow(), kept for its memory
  static constexpr std::uint32_t kGone = UINT32_MAX;
  // Of one point, kept for their memory.
  std::string point_text_;
  std::vector<Place> point_places_;
};

}  // namespace vitald
