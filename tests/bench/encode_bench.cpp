// SPDX-License-Identifier: Apache-2.0
// What a series costs in each format that leaves, once nothing but numbers changes: text, remote write, OTLP, Influx;
// what compression adds; and what it costs when series come or go. Argument: series.
#include <benchmark/benchmark.h>

#include <functional>
#include <string>
#include <vector>

#include "exporters/encode/gzip.h"
#include "exporters/encode/influx_line.h"
#include "exporters/encode/otlp.h"
#include "exporters/encode/prom_text.h"
#include "exporters/encode/remote_write.h"
#include "exporters/encode/scrape_body.h"
#include "exporters/encode/series_table.h"
#include "exporters/encode/snappy.h"
#include "exporters/encode/table_text.h"
#include "tests/bench/allocations.h"

namespace vitald {
namespace {

constexpr MetricDesc kFamilies[] = {
    {"node_network_receive_bytes_total", MetricType::counter, "Network device statistic receive_bytes.", "device,vm"},
    {"node_network_receive_packets_total", MetricType::counter, "Network device statistic.", "device,vm"},
    {"node_disk_io_time_seconds_total", MetricType::counter, "Total seconds spent doing I/Os.", "device,vm"},
    {"node_cpu_seconds_total", MetricType::counter, "Seconds the CPUs spent in each mode.", "cpu,mode"},
    {"node_hwmon_temp_celsius", MetricType::gauge, "Hardware monitor for temperature.", "chip,sensor"},
};

// A quarter of the numbers changes from one snapshot to the next.
class Host {
 public:
  explicit Host(std::size_t series) : values_(series) {
    for (std::size_t i = 0; i < series / std::size(kFamilies) + 1; ++i) devices_.push_back("dev" + std::to_string(i));
    for (std::size_t i = 0; i < series; ++i)
      values_[i] = static_cast<double>(i * 2654435761U % 1'000'000) / (i % 5 < 3 ? 1 : 100);
  }
  const Snapshot& next(bool another_one = false) {
    for (std::size_t i = step_++ % 4; i < values_.size(); i += 4) values_[i] += i % 5 < 3 ? 17 : 0.01;
    writer_.begin(1, 1);
    for (std::size_t i = 0; i < values_.size(); ++i)
      writer_.set(kFamilies[i % std::size(kFamilies)], values_[i], devices_[i / std::size(kFamilies)], "guest-one");
    if (another_one) writer_.set(kFamilies[0], 1, "one", "more");
    snapshot_.batches.clear();
    snapshot_.batches.push_back(writer_.finish({}, 0, 0));
    return snapshot_;
  }
  [[nodiscard]] std::size_t size() const { return values_.size(); }

 private:
  std::vector<double> values_;
  std::vector<std::string> devices_;
  BatchWriter writer_{"bench"};
  Snapshot snapshot_;
  std::size_t step_ = 0;
};

const SeriesTable::Settings kLabels{
    {{"job", "node"}, {"instance", "host-17.example:9100"}}, {{"datacentre", "west"}}, {}, SIZE_MAX, false};

// Only `work` is timed: the snapshots are made beside.
void run(benchmark::State& state, bool change, const std::function<std::size_t(const Snapshot&)>& work) {
  Host host(static_cast<std::size_t>(state.range(0)));
  work(host.next());
  std::size_t allocated = 0, bytes = 0;
  bool odd = false;
  for (auto _ : state) {
    state.PauseTiming();
    const auto& snapshot = host.next(change && (odd = !odd));
    const auto before = allocations();
    state.ResumeTiming();
    bytes = work(snapshot);
    state.PauseTiming();
    allocated += allocations() - before;
    state.ResumeTiming();
  }
  const auto n = static_cast<double>(host.size()) * static_cast<double>(state.iterations());
  state.counters["ns/series"] = benchmark::Counter(n, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["allocs/push"] = static_cast<double>(allocated) / static_cast<double>(state.iterations());
  state.counters["bytes/series"] = static_cast<double>(bytes) / static_cast<double>(host.size());
}

void text(benchmark::State& state) {
  PromText encoder;
  std::string out;
  run(state, false, [&](const Snapshot& s) { return encoder.encode(s, out), out.size(); });
}

// The body of a scrape, as each of the formats that may be asked for.
template <ScrapeFormat F, bool Change>
void scrape(benchmark::State& state) {
  ScrapeBody encoder(false);
  std::string out;
  run(state, Change, [&](const Snapshot& s) { return encoder.encode(s, F, out), out.size(); });
}

class Table {
 public:
  std::size_t look(const Snapshot& s) {
    table.update(s);
    table.values(s, values);
    return 0;
  }
  SeriesTable table{kLabels};
  std::vector<double> values;
};

template <bool Change>
void table_only(benchmark::State& state) {
  Table t;
  run(state, Change, [&](const Snapshot& s) { return t.look(s); });
}

template <bool Change, bool Compress>
void remote_write(benchmark::State& state) {
  Table t;
  RemoteWriteEncoder encoder(5000);
  std::string packed;
  run(state, Change, [&](const Snapshot& s) {
    t.look(s);
    std::size_t bytes = 0;
    encoder.encode(t.table, t.values, 1'700'000'000'000, [&](std::string_view body, std::uint32_t) {
      if (Compress) (void)snappy_compress(body, packed), bytes += packed.size();
      else bytes += body.size();
    });
    return bytes;
  });
}

// What a server of version 1 costs more: the request is read and written anew.
void remote_write_version1(benchmark::State& state) {
  Table t;
  RemoteWriteEncoder encoder(5000);
  run(state, false, [&](const Snapshot& s) {
    t.look(s);
    std::size_t bytes = 0;
    encoder.encode(t.table, t.values, 1'700'000'000'000, [&](std::string_view body, std::uint32_t) {
      if (const auto view = WriteRequestView::of(body)) bytes += view->version1(0, view->size(), false).size();
    });
    return bytes;
  });
}

template <bool Change>
void otlp(benchmark::State& state) {
  Table t;
  OtlpEncoder encoder({{{"service.name", "node"}}, "vitald", "1"}, 5000);
  run(state, Change, [&](const Snapshot& s) {
    t.look(s);
    std::size_t bytes = 0;
    encoder.encode(t.table, t.values, 1'700'000'000'000'000'000,
                   [&](std::string_view body, auto, auto) { bytes += body.size(); });
    return bytes;
  });
}

template <bool Change>
void influx(benchmark::State& state) {
  Table t;
  InfluxEncoder encoder(2000);
  run(state, Change, [&](const Snapshot& s) {
    t.look(s);
    std::size_t bytes = 0;
    encoder.encode(t.table, t.values, 1'700'000'000'000'000'000,
                   [&](std::string_view lines, auto) { bytes += lines.size(); });
    return bytes;
  });
}

void text_with_labels(benchmark::State& state) {
  Table t;
  TableText encoder;
  std::string out;
  run(state, false, [&](const Snapshot& s) {
    t.look(s);
    encoder.encode(t.table, t.values, out);
    return out.size();
  });
}

BENCHMARK(text)->Arg(1'000)->Arg(10'000);
BENCHMARK(scrape<ScrapeFormat::open_metrics, false>)->Name("openmetrics")->Arg(1'000)->Arg(10'000);
BENCHMARK(scrape<ScrapeFormat::open_metrics, true>)->Name("openmetrics/one comes or goes")->Arg(1'000)->Arg(10'000);
BENCHMARK(scrape<ScrapeFormat::protobuf, false>)->Name("protobuf")->Arg(1'000)->Arg(10'000);
BENCHMARK(scrape<ScrapeFormat::protobuf, true>)->Name("protobuf/one comes or goes")->Arg(1'000)->Arg(10'000);
BENCHMARK(scrape<ScrapeFormat::json, false>)->Name("json")->Arg(1'000)->Arg(10'000);
BENCHMARK(table_only<false>)->Name("table_only")->Arg(1'000)->Arg(10'000);
BENCHMARK(table_only<true>)->Name("table_only/one comes or goes")->Arg(1'000)->Arg(10'000);
BENCHMARK(remote_write<false, false>)->Name("remote_write")->Arg(1'000)->Arg(10'000);
BENCHMARK(remote_write<false, true>)->Name("remote_write/snappy")->Arg(1'000)->Arg(10'000);
BENCHMARK(remote_write<true, false>)->Name("remote_write/one comes or goes")->Arg(1'000)->Arg(10'000);
BENCHMARK(remote_write_version1)->Arg(1'000)->Arg(10'000);
BENCHMARK(otlp<false>)->Name("otlp")->Arg(1'000)->Arg(10'000);
BENCHMARK(otlp<true>)->Name("otlp/one comes or goes")->Arg(1'000)->Arg(10'000);
BENCHMARK(influx<false>)->Name("influx")->Arg(1'000)->Arg(10'000);
BENCHMARK(influx<true>)->Name("influx/one comes or goes")->Arg(1'000)->Arg(10'000);
BENCHMARK(text_with_labels)->Arg(1'000)->Arg(10'000);

}  // namespace
}  // namespace vitald

BENCHMARK_MAIN();
