// SPDX-License-Identifier: Apache-2.0
// What one series costs from set() to text: emit (BatchWriter), encode (PromText), both, and next to them
// prometheus-cpp on the same series. Argument 1: series; argument 2: values that change per cycle, in percent.
#include <benchmark/benchmark.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <zlib.h>

#include <cmath>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "core/os/kernel_file.h"
#include "exporters/encode/gzip.h"
#include "exporters/encode/prom_text.h"
#include "tests/bench/allocations.h"

namespace vitald {
namespace {

constexpr MetricDesc kFamilies[] = {
    {"node_network_receive_bytes_total", MetricType::counter, "Network device statistic receive_bytes.", "device,vm"},
    {"node_network_receive_packets_total", MetricType::counter, "Network device statistic.", "device,vm"},
    {"node_network_transmit_bytes_total", MetricType::counter, "Network device statistic.", "device,vm"},
    {"node_network_transmit_packets_total", MetricType::counter, "Network device statistic.", "device,vm"},
    {"node_disk_io_time_seconds_total", MetricType::counter, "Total seconds spent doing I/Os.", "device,vm"},
    {"node_disk_read_time_seconds_total", MetricType::counter, "Seconds spent by all reads.", "device,vm"},
    {"node_cpu_seconds_total", MetricType::counter, "Seconds the CPUs spent in each mode.", "cpu,mode"},
    {"node_hwmon_temp_celsius", MetricType::gauge, "Hardware monitor for temperature.", "chip,sensor"},
};
constexpr std::size_t kFamilyCount = std::size(kFamilies);

// 60 % whole numbers, 20 % with two decimals (ticks), 20 % full doubles: what a host's exposition holds.
class Host {
 public:
  explicit Host(std::size_t series) : values_(series), devices_(series / kFamilyCount + 1) {
    for (std::size_t i = 0; i < devices_.size(); ++i) devices_[i] = "dev" + std::to_string(i);
    for (auto& v : values_) v = next(static_cast<std::size_t>(&v - values_.data()));
  }
  void change(std::size_t percent) {
    for (std::size_t i = 0; i < values_.size(); ++i)
      if ((i * 2654435761u >> 7) % 100 < percent) values_[i] = next(i);
  }
  void emit(BatchWriter& out) const {
    out.begin(1);
    for (std::size_t i = 0; i < values_.size(); ++i)
      out.set(kFamilies[i % kFamilyCount], values_[i], devices_[i / kFamilyCount], "guest-one");
  }
  [[nodiscard]] std::size_t size() const { return values_.size(); }
  [[nodiscard]] std::vector<prometheus::MetricFamily> families() const {
    std::vector<prometheus::MetricFamily> result(kFamilyCount);
    for (std::size_t f = 0; f < kFamilyCount; ++f) {
      result[f].name = kFamilies[f].name;
      result[f].help = kFamilies[f].help;
      result[f].type = prometheus::MetricType::Counter;
    }
    for (std::size_t i = 0; i < values_.size(); ++i) {
      prometheus::ClientMetric m;
      m.label = {{"device", devices_[i / kFamilyCount]}, {"vm", "guest-one"}};
      m.counter.value = values_[i];
      result[i % kFamilyCount].metric.push_back(std::move(m));
    }
    return result;
  }

 private:
  double next(std::size_t i) {
    const auto whole = static_cast<double>(random_() >> (24 + random_() % 30));
    if (i % 5 < 3) return whole;
    if (i % 5 == 3) return std::round(whole) / 100;
    return whole / 1.0e9 * 1.1;
  }
  std::mt19937_64 random_{42};
  std::vector<double> values_;
  std::vector<std::string> devices_;
};

Snapshot snapshot_of(BatchPtr batch) {
  Snapshot s;
  s.batches.push_back(std::move(batch));
  return s;
}

// `allocs` counts what happened in the timed part, per series.
class Counters {
 public:
  explicit Counters(benchmark::State& state) : state_(state) {}
  void start() { before_ = allocations(); }
  void stop() { total_ += allocations() - before_; }
  void report(std::size_t series) {
    const auto n = static_cast<double>(series) * static_cast<double>(state_.iterations());
    state_.counters["ns/series"] = benchmark::Counter(n, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    state_.counters["allocs/series"] = static_cast<double>(total_) / n;
  }

 private:
  benchmark::State& state_;
  std::size_t before_ = 0, total_ = 0;
};

void emit(benchmark::State& state) {
  Host host(static_cast<std::size_t>(state.range(0)));
  BatchWriter writer("bench");
  host.emit(writer);
  BatchPtr batch = writer.finish({}, 0, 0);
  Counters counters(state);
  counters.start();
  for (auto _ : state) {
    host.emit(writer);
    batch = writer.finish({}, 0, 0);
  }
  counters.stop();
  counters.report(host.size());
}

template <bool Emit, bool Encode>
void cycle(benchmark::State& state) {
  Host host(static_cast<std::size_t>(state.range(0)));
  BatchWriter writer("bench");
  PromText encoder;
  std::string text;
  Counters counters(state);
  const auto once = [&](bool timed) {
    if (timed && Emit) counters.start();
    host.emit(writer);
    const auto snapshot = snapshot_of(writer.finish({}, 0, 0));
    if (timed && !Emit) state.ResumeTiming(), counters.start();
    encoder.encode(snapshot, text);
    if (timed) counters.stop();
  };
  once(false), once(false);
  for (auto _ : state) {
    state.PauseTiming();
    host.change(static_cast<std::size_t>(state.range(1)));
    if (Emit) state.ResumeTiming();
    once(true);
    benchmark::DoNotOptimize(text.data());
  }
  counters.report(host.size());
}
void encode(benchmark::State& state) { cycle<false, true>(state); }
void emit_and_encode(benchmark::State& state) { cycle<true, true>(state); }

void gzip(benchmark::State& state) {
  Host host(static_cast<std::size_t>(state.range(0)));
  BatchWriter writer("bench");
  host.emit(writer);
  std::string text, packed;
  PromText().encode(snapshot_of(writer.finish({}, 0, 0)), text);
  Gzip gzip;
  for (auto _ : state)
    if (!gzip.compress(text, packed)) state.SkipWithError("gzip");
  state.counters["bytes"] = static_cast<double>(text.size());
  state.counters["packed"] = static_cast<double>(packed.size());
}

void gzip_by_zlib(benchmark::State& state) {  // at its default level, as most servers do
  Host host(static_cast<std::size_t>(state.range(0)));
  BatchWriter writer("bench");
  host.emit(writer);
  std::string text;
  PromText().encode(snapshot_of(writer.finish({}, 0, 0)), text);
  std::string packed(compressBound(text.size()), '\0');
  uLongf size = 0;
  for (auto _ : state) {
    size = packed.size();
    if (compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(text.data()),
                 text.size()) != Z_OK)
      state.SkipWithError("zlib");
  }
  state.counters["packed"] = static_cast<double>(size);
}

// Ten files that every host has: kept open and read again, or opened each time.
constexpr const char* kFiles[] = {"/proc/stat",         "/proc/meminfo",    "/proc/vmstat",    "/proc/loadavg",
                                  "/proc/uptime",       "/proc/self/statm", "/proc/self/stat", "/proc/sys/fs/file-nr",
                                  "/proc/net/sockstat", "/proc/version"};
void read_kept_files(benchmark::State& state) {
  std::vector<KernelFile> files(std::begin(kFiles), std::end(kFiles));
  for (auto _ : state)
    for (auto& file : files)
      if (!file.read()) state.SkipWithError(file.path().c_str());
}
void read_reopened_files(benchmark::State& state) {
  for (auto _ : state)
    for (const auto* path : kFiles)
      if (!read_kernel_file(path)) state.SkipWithError(path);
}

void prometheus_cpp_serialize(benchmark::State& state) {
  Host host(static_cast<std::size_t>(state.range(0)));
  const auto families = host.families();
  const prometheus::TextSerializer serializer;
  Counters counters(state);
  counters.start();
  for (auto _ : state) {
    std::ostringstream out;
    serializer.Serialize(out, families);
    benchmark::DoNotOptimize(out);
  }
  counters.stop();
  counters.report(host.size());
}

void prometheus_cpp_build_and_serialize(benchmark::State& state) {
  Host host(static_cast<std::size_t>(state.range(0)));
  const prometheus::TextSerializer serializer;
  Counters counters(state);
  counters.start();
  for (auto _ : state) {
    std::ostringstream out;
    serializer.Serialize(out, host.families());
    benchmark::DoNotOptimize(out);
  }
  counters.stop();
  counters.report(host.size());
}

BENCHMARK(emit)->Arg(1'000)->Arg(10'000)->Arg(100'000);
BENCHMARK(encode)->ArgsProduct({{1'000, 10'000, 100'000}, {0, 25, 100}});
BENCHMARK(emit_and_encode)->ArgsProduct({{1'000, 10'000, 100'000}, {0, 25, 100}});
BENCHMARK(prometheus_cpp_serialize)->Arg(1'000)->Arg(10'000)->Arg(100'000);
BENCHMARK(prometheus_cpp_build_and_serialize)->Arg(1'000)->Arg(10'000)->Arg(100'000);
BENCHMARK(gzip)->Arg(800)->Arg(10'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(gzip_by_zlib)->Arg(800)->Arg(10'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(read_kept_files)->Unit(benchmark::kMicrosecond);
BENCHMARK(read_reopened_files)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace vitald

BENCHMARK_MAIN();
