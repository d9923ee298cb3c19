// SPDX-License-Identifier: Apache-2.0
// Metrics that programs of the user print in Prometheus' text format.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "sensors/read/exposition_plan.h"
#include "sensors/service/exec_runner.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"vitald_exec_success", gauge,
     "1: the last run of the program was good; 0: it failed, took too long, or printed what "
     "cannot be taken.",
     "program", "", "exec"},
    {"vitald_exec_duration_seconds", gauge, "How long the last run of the program took.", "program", "seconds", "exec"},
    {"vitald_exec_runs_total", counter,
     "Runs of the program that ended, by how: ok, failed, timeout, refused (what it "
     "printed), not_started.",
     "program,result", "", "exec"},
    {"vitald_exec_cpu_seconds_total", counter, "CPU time of the program and of those it waited for.", "program",
     "seconds", "exec"},
    {"vitald_exec_last_success_timestamp_seconds", gauge,
     "When the last good run of the program ended, seconds since the "
     "epoch.",
     "program", "seconds", "exec"},
};
constexpr auto& kSuccess = row(kMetrics, "vitald_exec_success");
constexpr auto& kDuration = row(kMetrics, "vitald_exec_duration_seconds");
constexpr auto& kRuns = row(kMetrics, "vitald_exec_runs_total");
constexpr auto& kCpu = row(kMetrics, "vitald_exec_cpu_seconds_total");
constexpr auto& kLastSuccess = row(kMetrics, "vitald_exec_last_success_timestamp_seconds");

constexpr FlagSpec kFlags[] = {
    {"collector.exec.program", FlagType::list, "",
     "A program that prints metrics in Prometheus' text format: NAME every 1m timeout 10s user USER: /PROGRAM "
     "ARGUMENTS. "
     "In the file it is `exec`. Repeatable."},
};

// Programs that are quick are in the first answer.
constexpr std::int64_t kFirstWaitNs = 100'000'000;

class Exec final : public Collector {
 public:
  Exec(const Host& host, std::vector<ExecProgram> programs) : host_(host), runner_(std::move(programs)) {}

  Result<> collect(BatchWriter& out) override {
    states_ = runner_.states(kFirstWaitNs);
    const auto& programs = runner_.programs();
    const auto now_ns = host_.clock().boot_ns();
    std::vector<std::shared_ptr<const Exposition>> shown;
    std::vector<bool> old;
    for (std::size_t i = 0; i < states_.size(); ++i) {
      // What is older than two of its rounds is nobody's news any more.
      const auto most_ns = std::max<std::int64_t>(30'000'000'000, 2 * programs[i].every_ns + programs[i].timeout_ns);
      const bool fresh = states_[i].content && now_ns - states_[i].content_boot_ns <= most_ns;
      shown.push_back(fresh ? states_[i].content : nullptr);
      old.push_back(states_[i].content && !fresh);
    }
    if (shown != shown_) {
      std::vector<ExpositionSource> sources;
      for (std::size_t i = 0; i < shown.size(); ++i)
        if (shown[i]) sources.push_back({programs[i].name, shown[i].get()});
      plan_.build(sources);
      shown_ = std::move(shown);
    }
    plan_.emit(out);
    for (const auto& conflict : plan_.conflicts()) out.problem(conflict);
    for (std::size_t i = 0; i < states_.size(); ++i) emit(out, programs[i].name, states_[i], old[i]);
    return {};
  }

  [[nodiscard]] std::string status() const override {
    const auto good = std::ranges::count(states_, true, &ExecRunner::State::ok);
    auto text = fmt::format("{} of {} program{} good", good, states_.size(), states_.size() == 1 ? "" : "s");
    for (std::size_t i = 0; i < states_.size(); ++i) {
      const auto& s = states_[i];
      if (!s.ended) text += fmt::format("; {}: its first run is not over", runner_.programs()[i].name);
      else if (!s.ok) text += fmt::format("; {}: {}", runner_.programs()[i].name, s.why);
    }
    return text;
  }

 private:
  // `old`: what it printed last is not shown any more.
  static void emit(BatchWriter& out, const std::string& name, const ExecRunner::State& s, bool old) {
    for (std::size_t i = 0; i < ExecRunner::kOutcomes; ++i)
      out.set(kRuns, static_cast<double>(s.runs[i]), name, to_string(static_cast<ExecRunner::Outcome>(i)));
    out.set(kCpu, static_cast<double>(s.cpu_ns) / 1e9, name);
    if (!s.ended) return;  // nothing is known yet
    out.set(kSuccess, s.ok && !old ? 1 : 0, name);
    out.set(kDuration, static_cast<double>(s.last_ns) / 1e9, name);
    if (s.content) out.set(kLastSuccess, static_cast<double>(s.content_wall_ns) / 1e9, name);
    if (!s.ok) out.problem({Errc::io, 0, fmt::format("{}: {}", name, s.why)});
    else if (old) out.problem({Errc::io, 0, fmt::format("{}: its last run ended too long ago", name)});
  }

  const Host& host_;
  ExecRunner runner_;
  std::vector<ExecRunner::State> states_;
  std::vector<std::shared_ptr<const Exposition>> shown_;  // what plan_ points into
  ExpositionPlan plan_{"Metric printed by ", kMetrics};
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  std::vector<ExecProgram> programs;
  for (const auto& line : options.list("collector.exec.program")) {
    if (line.empty()) continue;
    auto program = parse_exec(line);
    if (!program) return fail(std::move(program.error()));
    if (std::ranges::find(programs, program->name, &ExecProgram::name) != programs.end())
      return fail(Errc::malformed, fmt::format("a second '{}', expected another name", program->name));
    programs.push_back(std::move(*program));
  }
  if (programs.empty()) return fail(Errc::absent, "no program is configured");
  return std::make_unique<Exec>(host, std::move(programs));
}

}  // namespace

extern const CollectorInfo collector_exec;
const CollectorInfo collector_exec{kMetrics, kFlags, make};

}  // namespace vitald
