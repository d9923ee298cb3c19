// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/irq.h"

#include <memory>

namespace vitald {
namespace {

constexpr ProbeHook kSoftirqHooks[] = {timed(COST_ON_SOFTIRQ, {"on_softirq", "softirq_entry"}),
                                       timed(COST_ON_SOFTIRQ_END, {"on_softirq_end", "softirq_exit"})};
constexpr ProbeHook kHardirqHooks[] = {timed(COST_ON_HARDIRQ, {"on_hardirq", "irq_handler_entry"}),
                                       timed(COST_ON_HARDIRQ_END, {"on_hardirq_end", "irq_handler_exit"})};
constexpr Signal kSignals[] = {
    {"softirq_latency", VITALD_SOFTIRQ_LATENCY, 5, kSoftirqHooks},
    {"hardirq_latency", VITALD_HARDIRQ_LATENCY, 6, kHardirqHooks},
};

}  // namespace

std::span<const Signal> irq_signals() { return kSignals; }

Result<SignalUse<IrqObject>> IrqObject::use(const Host& host, const Options& options, IrqSignal which) {
  return use_signal<IrqObject>(
      host, options, kSignals, which, [&](std::span<const Signal> signals) -> Result<std::shared_ptr<IrqObject>> {
        auto loaded = BpfObject<irq_bpf>::load(
            host.shared<KernelFacts>(), signals,
            [&](irq_bpf& skel) -> Result<> {
              const auto cpus = static_cast<__u32>(libbpf_num_possible_cpus());
              if ((skel.rodata->wanted & VITALD_SOFTIRQ_LATENCY) != 0)
                bpf_map__set_max_entries(skel.maps.softirqs, cpus);
              if ((skel.rodata->wanted & VITALD_HARDIRQ_LATENCY) != 0)
                bpf_map__set_max_entries(skel.maps.hardirqs, cpus);
              return {};
            },
            [](irq_bpf&) {});
        if (!loaded) return fail(loaded.error());
        auto mapped_softirqs = MappedArray<vitald_softirq_cpu>::of(loaded->skel().maps.softirqs);
        auto mapped_hardirqs = MappedArray<vitald_hardirq_cpu>::of(loaded->skel().maps.hardirqs);
        auto mapped_names = MappedArray<vitald_irq_name>::of(loaded->skel().maps.names);
        if (!mapped_softirqs) return fail(mapped_softirqs.error());
        if (!mapped_hardirqs) return fail(mapped_hardirqs.error());
        if (!mapped_names) return fail(mapped_names.error());
        return std::make_shared<IrqObject>(IrqObject{std::move(*loaded), std::move(*mapped_softirqs),
                                                     std::move(*mapped_hardirqs), std::move(*mapped_names)});
      });
}

void IrqObject::forget_past(const Signal& signal) {
  if (signal.bit == VITALD_SOFTIRQ_LATENCY)
    for (std::size_t cpu = 0; cpu < softirqs.size(); ++cpu) softirqs[cpu].since_ns = 0;
  else
    for (std::size_t cpu = 0; cpu < hardirqs.size(); ++cpu) hardirqs[cpu].since_ns = 0;
}

}  // namespace vitald
