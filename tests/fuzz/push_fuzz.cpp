// SPDX-License-Identifier: Apache-2.0
// What is pushed, from labels of any text and of requests from a damaged disk: a remote write request reads back as
// what went in, in parts and whole; lines of Influx stay lines; what is no request is refused.
#include <algorithm>
#include <string>
#include <vector>

#include "exporters/encode/influx_line.h"
#include "exporters/encode/otlp.h"
#include "exporters/encode/remote_write.h"
#include "exporters/encode/table_text.h"
#include "tests/fuzz/input.h"

namespace vitald {
namespace {

void must(bool holds) {
  if (!holds) __builtin_trap();
}

void read_damaged(std::string_view bytes) {
  const auto view = WriteRequestView::of(bytes);
  if (!view || view->size() == 0) return;
  const auto half = view->size() / 2;
  const auto part = view->part(0, half);
  const auto again = WriteRequestView::of(part);
  must(again && again->size() == half);
  (void)view->version1(half, view->size() - half, true);
}

void encode(std::string_view text) {
  BatchWriter writer("fuzz");
  const auto pool = std::make_shared<DescPool>();
  writer.begin(1, 1);
  writer.use(pool);
  std::vector<std::string> values;
  for (std::size_t at = 0; at <= text.size() && values.size() < 64;) {
    const auto end = std::min(text.find('\xff', at), text.size());
    values.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  const auto& family = pool->get("fuzz_total", MetricType::counter, "help", "a,b");
  for (std::size_t i = 0; i < values.size(); ++i)
    writer.set(family, static_cast<double>(i), values[i], values[(i + 1) % values.size()]);
  Snapshot snapshot;
  snapshot.batches.push_back(writer.finish({}, 0, 0));
  SeriesTable table({{{"job", "node"}}, {}, {}, SIZE_MAX, true});
  table.update(snapshot);
  std::vector<double> numbers;
  table.values(snapshot, numbers);
  std::size_t series = 0;
  RemoteWriteEncoder(7).encode(table, numbers, 1'700'000'000'000, [&](std::string_view body, std::uint32_t samples) {
    const auto view = WriteRequestView::of(body);
    must(view && view->size() == samples && view->part(0, samples) == body);
    series += samples;
  });
  must(series == table.rows().size());
  std::size_t lines = 0;
  InfluxEncoder(5).encode(table, numbers, 1, [&](std::string_view body, std::uint32_t count) {
    must(static_cast<std::size_t>(std::ranges::count(body, '\n')) == count && body.ends_with(" 1\n"));
    lines += count;
  });
  must(lines == table.rows().size());
  std::string out;
  TableText().encode(table, numbers, out);
  must(static_cast<std::size_t>(std::ranges::count(out, '\n')) == lines + 4);
  OtlpEncoder({{}, "fuzz", "1"}, 9).encode(table, numbers, 1, [](auto, auto, auto) {});
}

}  // namespace
}  // namespace vitald

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace vitald;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  read_damaged(bytes);
  encode(bytes);
  return 0;
}
