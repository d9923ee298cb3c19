// SPDX-License-Identifier: Apache-2.0
// What a round of rules costs: 500 series as a small host has them, 40 rules as people write them.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/text/scan.h"
#include "rules/engine.h"
#include "rules/history/store.h"
#include "rules/promql/eval.h"
#include "rules/promql/parser.h"

namespace vitald {
namespace {

// Names and numbers of series of a virtual machine with 4 CPUs: 507 samples.
class Machine {
 public:
  explicit Machine(std::size_t rest = 420) : rest_of_them_(rest) {}
  void cycle(RuleEngine* engine) {
    ++n_;
    const auto boot_ns = 1'000'000'000'000 + n_ * 5'000'000'000;
    writer_.begin(boot_ns);
    const double t = static_cast<double>(n_) * 5;
    for (int cpu = 0; cpu < 4; ++cpu)
      for (const char* mode : {"user", "system", "idle", "iowait", "irq", "softirq", "nice", "steal"})
        writer_.set(kCpu, std::floor(t * (10 + cpu)) / 100, Decimal(cpu), mode);
    for (const char* device : {"eth0", "eth1", "lo"})
      for (std::size_t i = 0; i < std::size(kNet); ++i)
        writer_.set(kNet[i], std::floor(t * 1234.5 * static_cast<double>(i)), device);
    for (const char* mount : {"/", "/boot", "/data"}) {
      writer_.set(kAvail, 40e9 - t * 4096, "/dev/vda", "ext4", mount);
      writer_.set(kSize, 50e9, "/dev/vda", "ext4", mount);
      writer_.set(kReadonly, 0, "/dev/vda", "ext4", mount);
      writer_.set(kFiles, 1e6, "/dev/vda", "ext4", mount);
      writer_.set(kFilesFree, 9e5 - static_cast<double>(n_ % 100), "/dev/vda", "ext4", mount);
    }
    writer_.set(kMemTotal, 8e9);
    writer_.set(kMemAvailable, 6e9 + 4096 * static_cast<double>(n_ % 977));
    writer_.set(kLoad, static_cast<double>(n_ % 300) / 100);
    while (rest_.size() < rest_of_them_) rest_.push_back(fmt::format("item{}", rest_.size()));
    for (const auto& item : rest_) writer_.set(kRest, t, item);
    Snapshot s;
    s.boot_ns = boot_ns;
    s.wall_ns = boot_ns + 1'700'000'000'000'000'000;
    s.batches.push_back(writer_.finish({}, 0, 0));
    if (engine) benchmark::DoNotOptimize(engine->evaluate(s));
  }

 private:
  static constexpr MetricDesc kCpu{"node_cpu_seconds_total", MetricType::counter, "", "cpu,mode"};
  static constexpr MetricDesc kNet[] = {
      {"node_network_receive_bytes_total", MetricType::counter, "", "device"},
      {"node_network_transmit_bytes_total", MetricType::counter, "", "device"},
      {"node_network_receive_packets_total", MetricType::counter, "", "device"},
      {"node_network_transmit_packets_total", MetricType::counter, "", "device"},
      {"node_network_receive_errs_total", MetricType::counter, "", "device"},
      {"node_network_transmit_errs_total", MetricType::counter, "", "device"},
      {"node_network_receive_drop_total", MetricType::counter, "", "device"},
      {"node_network_transmit_drop_total", MetricType::counter, "", "device"},
  };
  static constexpr std::string_view kDisk = "device,fstype,mountpoint";
  static constexpr MetricDesc kAvail{"node_filesystem_avail_bytes", MetricType::gauge, "", kDisk};
  static constexpr MetricDesc kSize{"node_filesystem_size_bytes", MetricType::gauge, "", kDisk};
  static constexpr MetricDesc kReadonly{"node_filesystem_readonly", MetricType::gauge, "", kDisk};
  static constexpr MetricDesc kFiles{"node_filesystem_files", MetricType::gauge, "", kDisk};
  static constexpr MetricDesc kFilesFree{"node_filesystem_files_free", MetricType::gauge, "", kDisk};
  static constexpr MetricDesc kMemTotal{"node_memory_MemTotal_bytes", MetricType::gauge, ""};
  static constexpr MetricDesc kMemAvailable{"node_memory_MemAvailable_bytes", MetricType::gauge, ""};
  static constexpr MetricDesc kLoad{"node_load1", MetricType::gauge, ""};
  static constexpr MetricDesc kRest{"node_vmstat_item", MetricType::untyped, "", "item"};

  BatchWriter writer_{"machine"};
  std::int64_t n_ = 0;
  std::size_t rest_of_them_;
  std::vector<std::string> rest_;
};

std::string forty_rules() {
  std::string out = "groups:\n  - name: bench\n    rules:\n";
  auto rule = [&, n = 0](std::string_view expr) mutable {
    out += fmt::format("      - alert: A{}\n        expr: '{}'\n        for: 5m\n", n++, expr);
  };
  for (const char* m : {"receive_errs", "transmit_errs", "receive_drop", "transmit_drop"})
    for (const char* limit : {"0.01", "0.1", "0.5"})
      rule(fmt::format("rate(node_network_{}_total[2m]) / rate(node_network_receive_packets_total[2m]) > 1e9 + {}", m,
                       limit));
  for (const char* limit : {"5", "3", "1"}) {
    rule(fmt::format(
        "node_filesystem_avail_bytes{{fstype!=\"\"}} / node_filesystem_size_bytes{{fstype!=\"\"}} * 100 < {} "
        "and node_filesystem_readonly{{fstype!=\"\"}} == 0",
        limit));
    rule(
        fmt::format("node_filesystem_files_free{{fstype!=\"\"}} / node_filesystem_files{{fstype!=\"\"}} * 100 < {} "
                    "and node_filesystem_readonly{{fstype!=\"\"}} == 0",
                    limit));
    rule(
        fmt::format("node_filesystem_avail_bytes / node_filesystem_size_bytes * 100 < {} and "
                    "predict_linear(node_filesystem_avail_bytes[30m], 4*60*60) < 0",
                    limit));
  }
  for (const char* mode : {"user", "system", "iowait", "steal", "softirq"})
    rule(fmt::format("avg without (cpu) (rate(node_cpu_seconds_total{{mode=\"{}\"}}[5m])) > 0.9", mode));
  rule("sum without (mode) (avg without (cpu) (rate(node_cpu_seconds_total{mode!=\"idle\"}[5m]))) * 100 > 900");
  for (int i = 1; i <= 8; ++i)
    rule(fmt::format("node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < 0.0{}", i));
  for (int i = 1; i <= 5; ++i)
    rule(fmt::format("node_load1 > {} * count without (cpu, mode) (node_cpu_seconds_total{{mode=\"idle\"}})", i * 10));
  return out;
}

std::unique_ptr<RuleEngine> engine_of(const std::string& yaml) {
  const auto path =
      fmt::format("{}/vitald_rules_bench_{}.yaml", std::filesystem::temp_directory_path().string(), getpid());
  std::ofstream(path) << yaml;
  std::vector<std::string> problems;
  auto engine = RuleEngine::load({.files = {path}}, problems);
  std::filesystem::remove(path);
  if (!engine) fmt::print(stderr, "{}\n", fmt::join(problems, "\n")), std::abort();
  return engine;
}

// Per round: the series into the history and the rules; emitting them is in the time too (emit_only).
void round_of(benchmark::State& state, const std::string& yaml) {
  const auto engine = engine_of(yaml);
  Machine machine;
  for (int i = 0; i < 800; ++i) machine.cycle(engine.get());
  for (auto _ : state) machine.cycle(engine.get());
  const auto size = engine->history()->size();
  state.counters["rules"] = static_cast<double>(engine->rule_count());
  state.counters["history_series"] = static_cast<double>(size.series);
  state.counters["history_bytes"] = static_cast<double>(size.sample_bytes);
  state.counters["bytes_per_sample"] =
      static_cast<double>(size.sample_bytes) / static_cast<double>(std::max<std::size_t>(size.samples, 1));
}
void rules_round(benchmark::State& state) { round_of(state, forty_rules()); }
BENCHMARK(rules_round);

void emit_only(benchmark::State& state) {
  Machine machine;
  for (auto _ : state) machine.cycle(nullptr);
}
BENCHMARK(emit_only);

void one_rule(benchmark::State& state, const char* expr) {
  round_of(state, fmt::format("groups: [{{name: g, rules: [{{alert: A, expr: '{}'}}]}}]", expr));
}
BENCHMARK_CAPTURE(one_rule, ratio_of_3, "node_filesystem_avail_bytes / node_filesystem_size_bytes < 0.01");
BENCHMARK_CAPTURE(one_rule, rate_5m_of_32, "rate(node_cpu_seconds_total[5m]) > 2");
BENCHMARK_CAPTURE(one_rule, rate_5m_of_420, "rate(node_vmstat_item[5m]) > 2");
BENCHMARK_CAPTURE(one_rule, predict_6h_of_3, "predict_linear(node_filesystem_avail_bytes[6h], 3600) < 0");
BENCHMARK_CAPTURE(one_rule, history_1h_of_420, "max_over_time(node_vmstat_item[1h]) < 0");

// What history alone costs a round: 1000 series, and a rule that looks at none of them.
void history_of_1000(benchmark::State& state) {
  const auto engine = engine_of("groups: [{name: g, rules: [{record: one, expr: vector(1)}]}]");
  Machine machine(913);
  for (int i = 0; i < 800; ++i) machine.cycle(engine.get());
  for (auto _ : state) machine.cycle(engine.get());
  const auto size = engine->history()->size();
  state.counters["history_series"] = static_cast<double>(size.series);
  state.counters["bytes_per_sample"] = static_cast<double>(size.sample_bytes) / static_cast<double>(size.samples);
}
BENCHMARK(history_of_1000);

// A query of the API: an hour of 100 series, a value each 15 s.
void query_1h_of_100(benchmark::State& state, const char* text) {
  const auto engine = engine_of("groups: [{name: g, rules: [{record: one, expr: vector(1)}]}]");
  Machine machine;
  for (int i = 0; i < 800; ++i) machine.cycle(engine.get());
  std::size_t points = 0;
  for (auto _ : state) {
    std::vector<promql::Problem> problems;
    const auto expr = promql::compile(text, problems);
    const auto view = engine->history()->view();
    promql::Evaluator evaluator(*expr, *view);
    const auto end = view->now_wall_ms(), start = end - 3'600'000;
    points = 0;
    for (auto t = start; t <= end; t += 15'000) points += evaluator.eval(t, start, end)->vector->samples.size();
  }
  state.counters["points"] = static_cast<double>(points);
}
BENCHMARK_CAPTURE(query_1h_of_100, values, "node_vmstat_item{item=~\"item[0-9]{1,2}\"}");
BENCHMARK_CAPTURE(query_1h_of_100, rate_5m, "rate(node_vmstat_item{item=~\"item[0-9]{1,2}\"}[5m])");

void parse(benchmark::State& state) {
  const char* text =
      "node_filesystem_avail_bytes{fstype!=\"\"} / node_filesystem_size_bytes{fstype!=\"\"} * 100 < 5 and "
      "predict_linear(node_filesystem_avail_bytes[6h], 24*60*60) < 0";
  for (auto _ : state) {
    std::vector<promql::Problem> problems;
    benchmark::DoNotOptimize(promql::compile(text, problems));
  }
}
BENCHMARK(parse);

}  // namespace
}  // namespace vitald

BENCHMARK_MAIN();
