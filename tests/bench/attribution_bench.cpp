// SPDX-License-Identifier: Apache-2.0
// What a cycle costs in which the energy of two processors and of their memory is split among so many owners (the
// argument), each of which used something on both. One owner of all comes or goes per cycle where the name says so;
// read is the input alone, which is made by others.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/deriver.h"
#include "core/host.h"
#include "core/snapshot.h"

namespace vitald {
namespace {

constexpr MetricDesc kEnergy{"vitald_energy_joules_total", MetricType::counter, "Bench.", "domain,package"};
constexpr MetricDesc kUp{"vitald_energy_meter_up", MetricType::gauge, "Bench.", "domain,package"};
constexpr MetricDesc kCpus{"vitald_package_cpus", MetricType::gauge, "Bench.", "package"};
constexpr MetricDesc kUsed{"vitald_owner_package_cpu_seconds_total", MetricType::counter, "Bench.",
                           "id,package,owner_kind,owner"};
constexpr const char* kPackages[] = {"0", "1"};

class Machine {
 public:
  explicit Machine(std::size_t owners) {
    for (std::size_t i = 0; i < owners; ++i) names_.push_back(name(i));
  }
  // A quarter of a second of work by each in turns, and the joules of a second.
  Snapshot next(bool one_changes) {
    ++second_;
    if (one_changes) names_[static_cast<std::size_t>(second_) % names_.size()] = name(names_.size() + second_);
    const auto at_ns = static_cast<std::int64_t>(second_) * 1'000'000'000;
    Snapshot out;
    out.boot_ns = out.wall_ns = at_ns;
    meters_.begin(at_ns);
    for (const auto* package : kPackages) {
      for (const auto* domain : {"package", "dram"}) {
        meters_.set(kEnergy, static_cast<double>(second_) * 80, domain, package);
        meters_.set(kUp, 1, domain, package);
      }
      meters_.set(kCpus, 64, package);
    }
    out.batches.push_back(meters_.finish({}, 0, 0));
    uses_.begin(at_ns);
    for (std::size_t i = 0; i < names_.size(); ++i)
      for (const auto* package : kPackages)
        uses_.set(kUsed, static_cast<double>((second_ + i) / 4) / 100, names_[i], package, "unit", names_[i]);
    out.batches.push_back(uses_.finish({}, 0, 0));
    return out;
  }

 private:
  static std::string name(std::size_t i) { return "kubepods-burstable-pod" + std::to_string(100'000 + i); }

  std::vector<std::string> names_;
  std::size_t second_ = 0;
  BatchWriter meters_{"meters"}, uses_{"uses"};
};

template <bool kDerive, bool kOneChanges>
void attribution(benchmark::State& state) {
  const auto entries = collector_list();
  const auto entry = std::ranges::find(entries, "energy", &CollectorEntry::name);
  const Host host;
  Options options;
  options.declare(entry->info->flags);
  auto deriver = entry->info->derive(host, options);
  if (!deriver) return state.SkipWithError(deriver.error().text.c_str());
  Machine machine(static_cast<std::size_t>(state.range(0)));
  BatchWriter out("energy");
  std::size_t rows = 0;
  for (auto _ : state) {
    const auto so_far = machine.next(kOneChanges);
    if (!kDerive) continue;
    out.begin(so_far.boot_ns);
    if (const auto done = (*deriver)->derive(so_far, out); !done) state.SkipWithError(done.error().text.c_str());
    rows = out.finish({}, 0, 0)->values.size();
  }
  if (kDerive) state.counters["rows"] = static_cast<double>(rows);
}

BENCHMARK(attribution<true, false>)->Name("attribution")->Arg(100)->Arg(1'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(attribution<true, true>)->Name("attribution/one comes or goes")->Arg(1'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(attribution<false, false>)->Name("read")->Arg(100)->Arg(1'000)->Unit(benchmark::kMicrosecond);
BENCHMARK(attribution<false, true>)->Name("read/one comes or goes")->Arg(1'000)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace vitald

BENCHMARK_MAIN();
