// SPDX-License-Identifier: Apache-2.0
// What one series costs from set() to text: emit (BatchWriter), encode (PromText), both, and next to them
// prometheus-cpp on the same series. Argument 1: series; argument 2: values that change per cycle, in percent. And what
// a cycle costs in which one owner of 1,000 comes or goes.
#include <benchmark/benchmark.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "core/clock.h"
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

// 1,000 owners of 10 series each, as cgroups or guests have them: what a cycle with encoding costs when nothing but the
// numbers changes, and when in each cycle one owner comes or goes. `by_family`: each family for all owners in turn.
constexpr MetricDesc kOwnerFamilies[] = {
    {"vitald_owner_cpu_seconds_total", MetricType::counter, "CPU time of an owner.", "owner,kind"},
    {"vitald_owner_memory_bytes", MetricType::gauge, "Memory of an owner.", "owner,kind"},
    {"vitald_owner_read_bytes_total", MetricType::counter, "What an owner read.", "owner,kind"},
    {"vitald_owner_written_bytes_total", MetricType::counter, "What an owner wrote.", "owner,kind"},
    {"vitald_owner_waits_total", MetricType::counter, "How often an owner waited.", "owner,kind"},
    {"vitald_owner_wait_seconds_total", MetricType::counter, "How long an owner waited.", "owner,kind"},
    {"vitald_owner_page_faults_total", MetricType::counter, "Page faults of an owner.", "owner,kind"},
    {"vitald_owner_processes", MetricType::gauge, "Processes of an owner.", "owner,kind"},
    {"vitald_owner_receive_bytes_total", MetricType::counter, "What an owner received.", "owner,kind"},
    {"vitald_owner_transmit_bytes_total", MetricType::counter, "What an owner sent.", "owner,kind"},
};
class Owners {
 public:
  explicit Owners(bool by_family) : by_family_(by_family) {
    for (int i = 0; i < 1000; ++i) owners_.push_back(next());
  }
  // One goes from anywhere, or comes anywhere, in turn.
  void change() {
    random_ = random_ * 1664525 + 1013904223;
    const auto at = owners_.begin() + static_cast<std::ptrdiff_t>((random_ >> 8) % owners_.size());
    if (owners_.size() >= 1000) owners_.erase(at);
    else owners_.insert(at, next());
  }
  void emit(BatchWriter& out) {
    out.begin(1, ++now_);
    if (by_family_) {
      for (std::size_t f = 0; f < std::size(kOwnerFamilies); ++f)
        for (const auto& owner : owners_) out.set(kOwnerFamilies[f], value(owner, f), owner.name, "pod");
    } else {
      for (const auto& owner : owners_)
        for (std::size_t f = 0; f < std::size(kOwnerFamilies); ++f)
          out.set(kOwnerFamilies[f], value(owner, f), owner.name, "pod");
    }
  }

 private:
  struct Owner {
    std::string name;
    std::size_t id;
  };
  Owner next() {
    ++last_id_;
    return {"kubepods-burstable-pod" + std::to_string(100'000 + last_id_ * 7919 % 900'000), last_id_};
  }
  // A quarter changes from cycle to cycle, upwards.
  [[nodiscard]] double value(const Owner& owner, std::size_t family) const {
    return static_cast<double>(1000 + ((owner.id + family) % 4 == 0 ? now_ : 0));
  }
  bool by_family_;
  std::vector<Owner> owners_;
  std::uint32_t random_ = 1;
  std::size_t last_id_ = 0;
  std::int64_t now_ = 0;
};

void owners(benchmark::State& state) {
  Owners all(state.range(0) != 0);
  BatchWriter writer("bench");
  PromText encoder;
  std::string text;
  // Alternating, so that both see the same machine; the medians, since a busy machine has outliers.
  std::vector<double> still, changing;
  const auto once = [&] {
    const auto begin = SystemClock::read(CLOCK_THREAD_CPUTIME_ID);
    all.emit(writer);
    encoder.encode(snapshot_of(writer.finish({}, 0, 0)), text);
    benchmark::DoNotOptimize(text.data());
    return static_cast<double>(SystemClock::read(CLOCK_THREAD_CPUTIME_ID) - begin) / 1000;
  };
  once(), once();
  for (auto _ : state) {
    still.push_back(once());
    all.change();
    changing.push_back(once());
  }
  const auto median = [](std::vector<double>& v) {
    std::ranges::nth_element(v, v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2));
    return v[v.size() / 2];
  };
  state.counters["still_us"] = median(still);
  state.counters["changing_us"] = median(changing);
  state.counters["ratio"] = median(changing) / median(still);
}

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
BENCHMARK(owners)->ArgName("by_family")->Arg(0)->Arg(1)->Unit(benchmark::kMicrosecond);
BENCHMARK(gzip)->Arg(800)->Arg(10'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(gzip_by_zlib)->Arg(800)->Arg(10'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(read_kept_files)->Unit(benchmark::kMicrosecond);
BENCHMARK(read_reopened_files)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace vitald

BENCHMARK_MAIN();
