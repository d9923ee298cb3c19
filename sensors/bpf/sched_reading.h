// SPDX-License-Identifier: Apache-2.0
// The collector of a signal of the scheduler's object whose rows have a reader of their own.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <string>
#include <utility>

#include "core/collector.h"
#include "sensors/bpf/report.h"
#include "sensors/bpf/sched.h"

namespace vitald {

// Reader: made of the host and the object, has collect(out) and turned(on), called when the signal was shed or is on
// again: the rows go on while another signal of the object is on. It may have note(facts) for the status, empty where
// there is nothing to say.
template <class Reader>
class SchedReading final : public Collector {
 public:
  SchedReading(const Host& host, SignalUse<SchedObject> sched)
      : sched_(std::move(sched)), report_(sched_.signal().name, sched_->bpf.form()), reader_(host, *sched_) {
    const auto& facts = host.shared<KernelFacts>();
    report_.watch(facts, sched_);
    if constexpr (requires { Reader::note(facts); }) report_.note(Reader::note(facts));
  }
  Result<> collect(BatchWriter& out) override {
    const bool on = report_.emit(out);
    if (on != on_) reader_.turned(on_ = on);
    if (on) reader_.collect(out);
    return {};
  }
  std::string status() const override { return report_.status(); }

  static Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options, SchedSignal which) {
    const auto name = sched_signals()[which].name;
    if (!host.view().kernel) return fail(Errc::absent, fmt::format("probe {}: only on the running system", name));
    auto sched = SchedObject::use(host, options, which);
    if (!sched) return probe_off(name, sched.error());
    return std::make_unique<SchedReading>(host, std::move(*sched));
  }

 private:
  SignalUse<SchedObject> sched_;
  ProbeReport report_;
  Reader reader_;
  bool on_ = true;
};

}  // namespace vitald
