// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/report.h"

#include <bpf/bpf.h>
#include <fmt/format.h>

#include <cstddef>

#include "core/log.h"
#include "core/metric_row.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr const auto& kUp = row(kProbeMetrics, "vitald_probe_up");
constexpr const auto& kRunSeconds = row(kProbeMetrics, "vitald_bpf_program_run_seconds_total");
constexpr const auto& kRuns = row(kProbeMetrics, "vitald_bpf_program_runs_total");
constexpr const auto& kMissed = row(kProbeMetrics, "vitald_bpf_program_missed_runs_total");

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

void ProbeReport::emit(BatchWriter& out) {
  const Label labels[] = {{"probe", probe_}, {"hook", to_string(form_)}};
  out.set_labels(kUp, 1, labels);
  const auto enabled = stats_enabled_.read();
  // Once seen the counters stay, or they would look like a restart.
  if (enabled && trim(*enabled) == "1") stats_seen_ = true;
  for (const auto& program : programs_) {
    bpf_prog_info info{};
    __u32 size = sizeof info;
    if (bpf_obj_get_info_by_fd(program.fd, &info, &size) != 0) {
      out.problem(from_errno(fmt::format("probe {}: bpf_prog_info of {}", probe_, program.name), errno));
      continue;
    }
    if (stats_seen_) {
      out.set(kRunSeconds, static_cast<double>(info.run_time_ns) / 1e9, probe_, program.name);
      out.set(kRuns, static_cast<double>(info.run_cnt), probe_, program.name);
    }
    if (size >= offsetof(bpf_prog_info, recursion_misses) + sizeof info.recursion_misses)
      out.set(kMissed, static_cast<double>(info.recursion_misses), probe_, program.name);
  }
}

std::string ProbeReport::status() const {
  return note_.empty() ? fmt::format("attached, {}", to_string(form_))
                       : fmt::format("attached, {}, {}", to_string(form_), note_);
}

std::unique_ptr<Collector> probe_off(std::string_view probe, const Error& why) {
  auto off = std::make_unique<OffProbe>(probe, why);
  log::warn(why.text, {{"collector", probe}, {"state", to_string(why.kind)}});
  return off;
}

}  // namespace vitald
