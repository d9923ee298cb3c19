// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/report.h"

#include <bpf/bpf.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstddef>

#include "core/clock.h"
#include "core/log.h"
#include "core/metric_row.h"
#include "core/os/few_descriptors.h"
#include "sensors/bpf/run_stats.h"

namespace vitald {
namespace {

constexpr const auto& kUp = row(kProbeMetrics, "vitald_probe_up");
constexpr const auto& kRunSeconds = row(kProbeMetrics, "vitald_bpf_program_run_seconds_total");
constexpr const auto& kRuns = row(kProbeMetrics, "vitald_bpf_program_runs_total");
constexpr const auto& kMissed = row(kProbeMetrics, "vitald_bpf_program_missed_runs_total");

constexpr const auto& kCost = row(kProbeMetrics, "vitald_probe_cost_seconds_total");
constexpr const auto& kCostRuns = row(kProbeMetrics, "vitald_probe_runs_total");

constexpr std::int64_t kSecondNs = 1'000'000'000;

constexpr std::string_view kShed = "probes cost more than --bpf.budget; it is tried again later";

class OffProbe final : public Collector {
 public:
  OffProbe(std::string_view probe, const Error& why) : probe_(probe), reason_(why.text) {
    const auto prefix = fmt::format("probe {}: ", probe);
    if (reason_.starts_with(prefix)) reason_.erase(0, prefix.size());
  }
  Result<> collect(BatchWriter& out) override {
    out.set(kUp, 0, probe_, "off", reason_);
    return {};
  }
  std::string status() const override { return "off: " + reason_; }

 private:
  std::string probe_, reason_;
};

}  // namespace

void ProbeReport::watch(const KernelFacts& facts, const Signal& signal, const bpf_object* object) {
  for (const auto& hook : bpf_detail::needed_hooks(facts, signal)) {
    if (hook.attach == ProbeHook::Attach::never) continue;
    const auto name = form_ == HookForm::tp_btf ? hook.program : fmt::format("{}_raw", hook.program);
    const auto* program = bpf_object__find_program_by_name(object, name.c_str());
    if (program && bpf_program__fd(program) >= 0) programs_.push_back({hook.program, bpf_program__fd(program)});
  }
}

ProbeReport::~ProbeReport() {
  if (budget_) budget_->forget(probe_);
}

void ProbeReport::hold(const KernelFacts& facts, const Signal& signal, const MappedArray<vitald_cost>& costs,
                       ProbeBudget& budget, Turn turn) {
  rank_ = signal.rank;
  cells_ = &costs;
  budget_ = &budget;
  turn_ = std::move(turn);
  for (const auto& hook : bpf_detail::needed_hooks(facts, signal)) {
    if (hook.cost < 0) continue;
    costs_.push_back({hook.program, hook.cost, std::vector<vitald_cost>(costs.size() / VITALD_COSTS), 0, 0});
    // What others have had of it is not this probe's.
    for (std::size_t cpu = 0; cpu < costs_.back().before.size(); ++cpu) {
      auto& before = costs_.back().before[cpu];
      before = costs[cpu * VITALD_COSTS + static_cast<std::size_t>(hook.cost)];
      before.left = 0;
    }
  }
}

void ProbeReport::read(Cost& cost) const {
  for (std::size_t cpu = 0; cpu < cost.before.size(); ++cpu) {
    const auto& cell = (*cells_)[cpu * VITALD_COSTS + static_cast<std::size_t>(cost.number)];
    auto& before = cost.before[cpu];
    const auto runs = now_in(cell.runs), timed = now_in(cell.timed), ns = now_in(cell.ns);
    const auto more = runs - before.runs;
    cost.runs += more;
    before.runs = runs;
    before.left += more;  // here: runs that are not accounted for
    if (timed == before.timed) continue;
    cost.seconds += static_cast<double>(ns - before.ns) / static_cast<double>(timed - before.timed) *
                    static_cast<double>(before.left) / 1e9;
    before.timed = timed, before.ns = ns, before.left = 0;
  }
}

// Turns it off, or on again, as the budget says.
void ProbeReport::obey(BatchWriter& out) {
  std::vector<ProbeBudget::Program> programs;
  for (auto& cost : costs_) {
    read(cost);
    programs.push_back({&(*cells_)[static_cast<std::size_t>(cost.number)], cost.seconds});
  }
  const bool wanted = budget_->look(probe_, rank_, programs, SystemClock::read(CLOCK_MONOTONIC));
  if (wanted == on_) return;
  if (auto ok = turn_(wanted); !ok) {
    out.problem(ok.error());
    return;
  }
  on_ = wanted;
  if (on_) log::info("the probe is on again", {{"collector", probe_}});
  else
    log::warn("probes cost more than --bpf.budget: one is off for a while", {{"collector", probe_}, {"state", "shed"}});
}

// A call for each program would be a third of all system calls of a scrape. While runs are not counted all there is to
// ask for is what was missed, next to always nothing: then one program has its turn, once a second at most.
void ProbeReport::ask_kernel(BatchWriter& out) {
  const auto now_ns = SystemClock::read(CLOCK_MONOTONIC);
  const bool runs = kernel_counts_runs(now_ns);
  const bool all = runs || !asked_;
  if (programs_.empty() || (!all && now_ns - asked_ns_ < kSecondNs)) return;
  asked_ns_ = now_ns;
  asked_ = true;
  for (std::size_t i = 0; i < (all ? programs_.size() : 1); ++i) {
    turn_of_ = (turn_of_ + 1) % programs_.size();
    auto& program = programs_[turn_of_];
    bpf_prog_info info{};
    __u32 size = sizeof info;
    if (bpf_obj_get_info_by_fd(program.fd, &info, &size) != 0) {
      out.problem(from_errno(fmt::format("probe {}: bpf_prog_info of {}", probe_, program.name), errno));
      program.counts_runs = program.counts_missed = false;
      continue;
    }
    program.counts_runs = runs;
    program.run_seconds = static_cast<double>(info.run_time_ns) / 1e9;
    program.runs = static_cast<double>(info.run_cnt);
    program.counts_missed = size >= offsetof(bpf_prog_info, recursion_misses) + sizeof info.recursion_misses;
    program.missed = static_cast<double>(info.recursion_misses);
  }
}

bool ProbeReport::emit(BatchWriter& out) {
  if (budget_) obey(out);
  if (on_) {
    const Label labels[] = {{"probe", probe_}, {"hook", to_string(form_)}};
    out.set_labels(kUp, 1, labels);
  } else {
    out.set(kUp, 0, probe_, "shed", kShed);
  }
  for (const auto& cost : costs_) {
    out.set(kCost, cost.seconds, probe_, cost.program);
    out.set(kCostRuns, static_cast<double>(cost.runs), probe_, cost.program);
  }
  ask_kernel(out);
  for (const auto& program : programs_) {
    if (program.counts_runs) {
      out.set(kRunSeconds, program.run_seconds, probe_, program.name);
      out.set(kRuns, program.runs, probe_, program.name);
    }
    if (program.counts_missed) out.set(kMissed, program.missed, probe_, program.name);
  }
  return on_;
}

std::string ProbeReport::status() const {
  if (!on_) return fmt::format("shed: {}", kShed);
  return note_.empty() ? fmt::format("attached, {}", to_string(form_))
                       : fmt::format("attached, {}, {}", to_string(form_), note_);
}

std::unique_ptr<Collector> probe_off(std::string_view probe, const Error& cause) {
  // The kernel's words for the hook that was the last straw say nothing of what to do.
  const auto why =
      cause.err == EMFILE ? Error{cause.kind, cause.err, fmt::format("probe {}: {}", probe, kFewDescriptors)} : cause;
  auto off = std::make_unique<OffProbe>(probe, why);
  log::warn(why.text, {{"collector", probe}, {"state", to_string(why.kind)}});
  return off;
}

}  // namespace vitald
