// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/irq_names.h"

#include <fmt/format.h>

#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr std::int64_t kAgainNs = 60'000'000'000;

}  // namespace

IrqNames::Named IrqNames::name(std::size_t irq, const Seen& seen) {
  auto& known = known_.at(irq);
  const auto now_ns = host_.clock().boot_ns();
  const bool first = known.read_ns == 0;
  if (first || seen.changes != known.changes || now_ns - known.read_ns >= kAgainNs) {
    // "eth0-rx,eth0-tx", in the order of the line; since Linux 4.9 (actions_show, kernel/irq/irqdesc.c).
    const auto actions = read_kernel_file(host_.sysfs(fmt::format("kernel/irq/{}/actions", irq)));
    std::string_view rest = actions ? trim(*actions) : std::string_view();
    const auto on_line = take_until(rest, ',');
    std::string now(on_line.empty() ? seen.name : on_line);
    // What was counted so far is not the new one's.
    if (!first && now != known.name) known.before_ns = seen.ns;
    known.name = std::move(now);
    known.changes = seen.changes;
    known.read_ns = now_ns == 0 ? 1 : now_ns;
  }
  return {known.name, seen.ns - known.before_ns};
}

}  // namespace vitald
