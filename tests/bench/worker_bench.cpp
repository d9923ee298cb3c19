// SPDX-License-Identifier: Apache-2.0
// What a batch costs on its way through a worker's pipe: 500 series whose values change and whose layout does not.
#include <benchmark/benchmark.h>

#include "agent/worker/frame.h"
#include "core/text/scan.h"
#include "tests/bench/allocations.h"

namespace vitald {
namespace {

constexpr MetricDesc kSeries{"libvirt_domain_block_stats_read_bytes_total", MetricType::counter, "Bytes.",
                             "domain,uuid,target_device"};
constexpr int kCount = 500;

BatchPtr collect(BatchWriter& writer, double shift, int count = kCount) {
  writer.begin(0);
  for (int i = 0; i < count; ++i)
    writer.set(kSeries, i * 4096 + shift, "web", "ce2f3658-1f43-4c33-9355-8f308a873daf", Decimal(i));
  return writer.finish({}, 0, 0);
}

std::string_view payload_of(std::string_view frame) { return frame.substr(4); }

void steady(benchmark::State& state) {
  BatchWriter writer("x");
  AnswerWriter answers;
  AnswerReader reader("x");
  std::uint64_t sequence = 0;
  static_cast<void>(reader.read(payload_of(answers.write(++sequence, *collect(writer, 0))), 0));
  const auto batch = collect(writer, 1);
  std::size_t bytes = 0;
  const auto before = allocations();
  for (auto _ : state) {
    const auto frame = answers.write(++sequence, *batch);
    bytes = frame.size();
    auto answer = reader.read(payload_of(frame), 0);
    benchmark::DoNotOptimize(answer);
  }
  state.counters["allocations"] = static_cast<double>(allocations() - before) / static_cast<double>(state.iterations());
  state.counters["bytes"] = static_cast<double>(bytes);
}
BENCHMARK(steady)->Name("500 series, values only");

void new_layout(benchmark::State& state) {
  BatchWriter writer("x");
  AnswerWriter answers;
  AnswerReader reader("x");
  std::uint64_t sequence = 0;
  const BatchPtr both[] = {collect(writer, 0), collect(writer, 0, kCount - 1)};
  for (auto _ : state) {
    ++sequence;
    auto answer = reader.read(payload_of(answers.write(sequence, *both[sequence % 2])), 0);
    benchmark::DoNotOptimize(answer);
  }
}
BENCHMARK(new_layout)->Name("500 series, another layout each time");

}  // namespace
}  // namespace vitald

BENCHMARK_MAIN();
