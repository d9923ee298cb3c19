// SPDX-License-Identifier: Apache-2.0
// Prometheus remote write messages, with native histograms where the table has such rows: snapshots to
// io.prometheus.write.v2.Request, and such a request to the prometheus.WriteRequest of version 1 or to a part of
// itself. Not compressed; that is snappy.h's. https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/
#pragma once

#include <bit>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/result.h"
#include "exporters/encode/new_exemplars.h"
#include "exporters/encode/series_table.h"

namespace vitald {

// The NaN by which a server knows that a series has ended; no other NaN leaves here.
inline constexpr std::uint64_t kStaleBits = 0x7ff0000000000002, kNanBits = 0x7ff8000000000001;

// Is given each request, and how many samples are in it.
using TakeRequest = std::function<void(std::string_view body, std::uint32_t samples)>;

// Keeps the finished requests; the steady state is one copy of each, with the numbers and the time put in. Where series
// come or go only theirs are made or dropped. Not thread-safe.
class RemoteWriteEncoder {
 public:
  explicit RemoteWriteEncoder(std::size_t most_series) : most_series_(most_series) {}

  // Of all rows, in requests of `most_series` at most. `values` are those of the table's rows, beside them; `exemplars`
  // ascend by row.
  void encode(const SeriesTable& table, std::span<const double> values, std::int64_t wall_ms, const TakeRequest& take,
              std::span<const RowExemplar> exemplars = {});
  // A stale marker for each.
  void stale(std::span<const GoneSeries> gone, std::int64_t wall_ms, const TakeRequest& take) const;

 private:
  struct Chunk {
    std::string bytes;
    std::uint32_t head = 0;  // where the first series begins
    struct Series {
      std::uint32_t end = 0;
      std::uint32_t value = 0;  // behind it stand a tag and the time
    };
    std::vector<Series> series;
    struct Histogram {
      std::uint32_t count = 0, deltas = 0;  // where its numbers are
      std::uint32_t buckets = 0, series = 0;
    };
    std::vector<Histogram> histograms;

    [[nodiscard]] std::uint32_t begin_of(std::size_t i) const { return i == 0 ? head : series[i - 1].end; }
  };
  static void put_histogram(char* bytes, const Chunk::Histogram& h, std::span<const double> cumulative);
  void build(const SeriesTable& table, std::int64_t wall_ms);
  void follow(const SeriesTable& table, const RowChange& change, std::int64_t wall_ms);
  static void drop(Chunk& chunk, std::span<const std::uint32_t> gone, std::uint32_t first_row);
  static void add(Chunk& chunk, const SeriesTable& table, std::span<const SeriesRow> rows, std::int64_t wall_ms);
  void add_chunks(const SeriesTable& table, std::size_t first_row, std::int64_t wall_ms);
  static std::string with_exemplars(const Chunk& chunk, std::span<const RowExemplar> exemplars,
                                    std::uint32_t first_row);

  std::size_t most_series_;
  std::vector<Chunk> chunks_;
  std::uint64_t version_ = 0;
  std::size_t time_size_ = 0;
  std::size_t dropped_ = 0;  // series since all was made: their symbols are still there
};

// A request of version 2 that was encoded above, for reading.
class WriteRequestView {
 public:
  // The bytes must stay. malformed: they are none.
  static Result<WriteRequestView> of(std::string_view bytes);
  [[nodiscard]] std::size_t size() const { return series_.size(); }
  // Series [first, first + count) as a request of version 2.
  [[nodiscard]] std::string part(std::size_t first, std::size_t count) const;
  // The same for version 1; with the families' type, help and unit where asked.
  [[nodiscard]] std::string version1(std::size_t first, std::size_t count, bool with_metadata) const;

  struct Series {
    std::string_view refs;   // packed
    std::uint64_t bits = 0;  // of the value: a stale marker is a NaN that arithmetic would change
    std::int64_t wall_ms = 0, since_wall_ms = 0;
    std::uint32_t type = 0, help = 0, unit = 0;
    std::string_view histogram = {};  // the message; empty: a number
    std::string_view exemplars = {};  // the fields, one after the other
  };
  [[nodiscard]] std::span<const Series> series() const { return series_; }
  // Calls back with the value's bits, the time and the names and values of the labels.
  void each_exemplar(const Series& series,
                     const std::function<void(std::uint64_t bits, std::int64_t wall_ms,
                                              std::span<const std::string_view> labels)>& use) const;
  [[nodiscard]] std::string_view symbol(std::uint64_t ref) const {
    return ref < symbols_.size() ? symbols_[ref] : std::string_view();
  }

 private:
  std::vector<std::string_view> symbols_;
  std::vector<Series> series_;
};

}  // namespace vitald
