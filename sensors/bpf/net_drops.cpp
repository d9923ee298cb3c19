// SPDX-License-Identifier: Apache-2.0
// Packets that the kernel dropped, by its reason. What the reasons are called is asked of the running kernel: their
// numbers are others in each version.
#include <fmt/format.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "sensors/bpf/kernel_btf.h"
#include "sensors/bpf/net.h"
#include "sensors/bpf/report.h"

namespace vitald {
namespace {

constexpr std::string_view kName = "net_drops";
constexpr std::string_view kPrefix = "SKB_DROP_REASON_";

constexpr MetricDesc kDrops{
    "vitald_network_drops_total",
    MetricType::counter,
    "Packets that were dropped, by the kernel's own reason in lower case. Reasons of subsystems (mac80211, "
    "openvswitch, "
    "queueing disciplines) are one row each. Packets freed for no reason that the kernel tells, or with the queue of a "
    "socket that is closed (queue_purge), are not drops.",
    "reason",
    "",
    "tp_btf/kfree_skb"};
constexpr MetricDesc kMetrics[] = {VITALD_PROBE_METRICS, kDrops};

// By number; empty where there is none, and for those that are no drops.
using Reasons = std::array<std::string, VITALD_DROP_REASONS>;

Result<Reasons> read_reasons() {
  auto kernel = KernelBtf::open();
  if (!kernel) return fail(kernel.error());
  auto values = enum_values(*kernel, "skb_drop_reason");
  if (!values) return fail(values.error());
  Reasons reasons;
  for (const auto& [name, number] : *values) {
    if (!name.starts_with(kPrefix) || number < 0 || number >= VITALD_DROP_REASONS) continue;
    auto text = name.substr(kPrefix.size());
    for (auto& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (text == "not_specified" || text == "max" || text == "subsys_mask") continue;
    if (text == "queue_purge") continue;  // what lay there when somebody closed his socket
    reasons[static_cast<std::size_t>(number)] = std::move(text);
  }
  return reasons;
}

// enum skb_drop_reason_subsys, include/net/dropreason.h: behind the first two the kernels differ.
std::string subsystem(std::size_t number) {
  constexpr std::string_view kNames[] = {"core", "mac80211_unusable"};
  return number < std::size(kNames) ? std::string(kNames[number]) : fmt::format("subsystem_{}", number);
}

class NetDrops final : public Collector {
 public:
  NetDrops(const Host& host, SignalUse<NetObject> net, Reasons reasons)
      : net_(std::move(net)), report_(kName, net_->bpf.form()), reasons_(std::move(reasons)) {
    report_.watch(host.shared<KernelFacts>(), net_);
  }

  Result<> collect(BatchWriter& out) override {
    if (!report_.emit(out)) return {};
    const auto sum = [&](auto&& member) {
      std::uint64_t all = 0;
      for (std::size_t cpu = 0; cpu < net_->drops.size(); ++cpu) all += now_in(member(net_->drops[cpu]));
      return all;
    };
    for (std::size_t i = 0; i < reasons_.size(); ++i) {
      if (reasons_[i].empty()) continue;
      const auto count = sum([i](const vitald_drops_cpu& c) -> const auto& { return c.reasons[i]; });
      if (count != 0) out.set(kDrops, static_cast<double>(count), reasons_[i]);
    }
    for (std::size_t i = 1; i < VITALD_DROP_SUBSYSTEMS; ++i) {
      const auto count = sum([i](const vitald_drops_cpu& c) -> const auto& { return c.subsystems[i]; });
      if (count != 0) out.set(kDrops, static_cast<double>(count), subsystem(i));
    }
    return {};
  }
  std::string status() const override { return report_.status(); }

 private:
  SignalUse<NetObject> net_;
  ProbeReport report_;
  Reasons reasons_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (!host.view().kernel) return fail(Errc::absent, "probe net_drops: only on the running system");
  auto net = NetObject::use(host, options, kNetDrops);
  if (!net) return probe_off(kName, net.error());
  auto reasons = read_reasons();
  if (!reasons) return probe_off(kName, reasons.error());
  return std::make_unique<NetDrops>(host, std::move(*net), std::move(*reasons));
}

}  // namespace

extern const CollectorInfo collector_net_drops;
const CollectorInfo collector_net_drops{kMetrics, kOwnerFlags, make};

}  // namespace vitald
