// SPDX-License-Identifier: Apache-2.0
// The collector of a signal of the object reclaim: a histogram of the host, and time and number per owner.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <span>
#include <utility>

#include "core/collector.h"
#include "sensors/bpf/reclaim.h"
#include "sensors/bpf/report.h"
#include "sensors/owner/totals.h"

namespace vitald {

struct StallFamilies {
  ReclaimSignal signal;
  const MetricDesc& stall;
  vitald_hist vitald_reclaim_stalls::*histogram;
  std::span<const OwnerField> fields;
};

class Stalls final : public Collector {
 public:
  Stalls(const Host& host, SignalUse<ReclaimObject> reclaim, const StallFamilies& families)
      : reclaim_(std::move(reclaim)),
        families_(families),
        report_(reclaim_.signal().name, reclaim_->bpf.form()),
        totals_(reclaim_->owners->slots(), reclaim_->owners->table(),
                [&object = *reclaim_](std::uint32_t slot) { return object.row(slot); }) {
    report_.watch(host.shared<KernelFacts>(), reclaim_);
  }

  Result<> collect(BatchWriter& out) override {
    if (!report_.emit(out)) return {};
    out.histogram(families_.stall, reclaim_->sum(families_.histogram).view());
    totals_.round([](auto&) {},
                  [&](auto entries) { emit_counted_fields<vitald_reclaim_row>(families_.fields, entries, out); });
    return {};
  }
  std::string status() const override { return report_.status(); }

  // `families` lives as long as the program.
  static Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options,
                                                 const StallFamilies& families) {
    const auto name = reclaim_signals()[families.signal].name;
    if (!host.view().kernel) return fail(Errc::absent, fmt::format("probe {}: only on the running system", name));
    auto reclaim = ReclaimObject::use(host, options, families.signal);
    if (!reclaim) return probe_off(name, reclaim.error());
    return std::make_unique<Stalls>(host, std::move(*reclaim), families);
  }

 private:
  SignalUse<ReclaimObject> reclaim_;
  const StallFamilies& families_;
  ProbeReport report_;
  SlotTotals<vitald_reclaim_row> totals_;
};

}  // namespace vitald
