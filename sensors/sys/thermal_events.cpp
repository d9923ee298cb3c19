// SPDX-License-Identifier: Apache-2.0
// Trip points that thermal zones cross, as the kernel announces it: each is an event, and rules that read temperatures
// are evaluated at once.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/netlink.h"
#include "sensors/sys/thermal_news.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"vitald_thermal_events_total", counter,
     "What the kernel announced of thermal zones since vitald began to listen: trip_up (a zone became as hot as one of "
     "its trip "
     "points), trip_down, zone_disabled, zone_enabled. Zones are those of node_thermal_zone_temp.",
     "zone,event", "", "netlink thermal"},
    {"vitald_thermal_events_lost_total", counter, "Times that announcements came faster than they were read.", "", "",
     "netlink thermal"},
};
constexpr const MetricDesc& kEvents = row(kMetrics, "vitald_thermal_events_total");
constexpr const MetricDesc& kLost = row(kMetrics, "vitald_thermal_events_lost_total");

constexpr std::size_t kMostZones = 64;  // that ever announced something; others are counted as none

class ThermalEvents final : public Collector {
 public:
  ThermalEvents(const Host& host, ThermalListener listener)
      : host_(host), listener_(std::move(listener)), zones_(host.sysfs("class/thermal")) {
    // Zones that are there count from 0, so that the first event is an increase.
    for (const auto& name : list_directory(zones_).value_or(std::vector<std::string>())) {
      std::string_view number = name;
      if (!take_prefix(number, "thermal_zone")) continue;
      if (const auto zone = parse_u64(number)) row_of(static_cast<std::uint32_t>(*zone));
    }
  }

  [[nodiscard]] int news_fd() const override { return listener_.fd(); }

  Result<> collect(BatchWriter& out) override {
    if (listener_.take([&](const ThermalNews& news) { tell(news, out); })) ++lost_;
    for (const auto& [zone, counts] : zones_seen_)
      for (std::size_t i = 0; i < std::size(kThermalNews); ++i)
        out.set(kEvents, static_cast<double>(counts[i]), Decimal(zone), kThermalNews[i]);
    out.set(kLost, static_cast<double>(lost_));
    return {};
  }

 private:
  using Counts = std::array<std::uint64_t, std::size(kThermalNews)>;
  Counts* row_of(std::uint32_t zone) {
    if (!zones_seen_.contains(zone) && zones_seen_.size() >= kMostZones) return nullptr;
    return &zones_seen_[zone];
  }

  void tell(const ThermalNews& news, BatchWriter& out) {
    const auto at = std::ranges::find(kThermalNews, news.what) - std::begin(kThermalNews);
    if (auto* counts = row_of(news.zone)) ++(*counts)[static_cast<std::size_t>(at)];
    const auto type = read_text_file(fmt::format("{}/thermal_zone{}/type", zones_, news.zone), 4096);
    const auto name =
        type ? fmt::format("thermal zone {} ({})", news.zone, trim(*type)) : fmt::format("thermal zone {}", news.zone);
    Event event{fmt::format("thermal_{}", news.what), host_.clock().boot_ns(), {}, {}};
    event.fields.emplace_back("zone", fmt::to_string(news.zone));
    if (type) event.fields.emplace_back("zone_type", std::string(trim(*type)));
    if (news.trip) event.fields.emplace_back("trip", fmt::to_string(*news.trip));
    if (news.celsius) event.fields.emplace_back("celsius", fmt::format("{:g}", *news.celsius));
    const auto degrees = news.celsius ? fmt::format(" at {:g} degrees Celsius", *news.celsius) : std::string();
    if (news.what == "trip_up" || news.what == "trip_down")
      event.text = fmt::format("{} went {} its trip point {}{}", name, news.what == "trip_up" ? "above" : "below",
                               news.trip ? fmt::to_string(*news.trip) : "?", degrees);
    else event.text = fmt::format("{} was {}", name, news.what.substr(news.what.find('_') + 1));
    out.event(std::move(event));
  }

  const Host& host_;
  ThermalListener listener_;
  const std::string zones_;
  std::map<std::uint32_t, Counts> zones_seen_;
  std::uint64_t lost_ = 0;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  if (!host.view().kernel) return fail(Errc::absent, "thermal: the files are of another machine");
  if (auto same = same_network(host); !same) return fail(same.error());  // the kernel tells the host's namespace only
  auto listener = ThermalListener::open();
  if (!listener) return fail(listener.error());
  return std::make_unique<ThermalEvents>(host, std::move(*listener));
}

}  // namespace

extern const CollectorInfo collector_thermal_events;
const CollectorInfo collector_thermal_events{kMetrics, {}, make};

}  // namespace vitald
