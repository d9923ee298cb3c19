// SPDX-License-Identifier: Apache-2.0
// States of services that runit supervises, from its status files.
#include <fmt/format.h>
#include <unistd.h>

#include <string>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr std::string_view kSource = "/etc/service/*/supervise/status";
constexpr MetricDesc kMetrics[] = {
    {"node_service_state", gauge, "State of runit service.", "service,supervisor", "", kSource},
    {"node_service_desired_state", gauge, "Desired state of runit service.", "service,supervisor", "", kSource},
    {"node_service_state_last_change_timestamp_seconds", gauge,
     "Unix timestamp of the last runit service state change.", "service,supervisor", "seconds", kSource},
    {"node_service_normal_state", gauge, "Normal state of runit service.", "service,supervisor", "",
     "/etc/service/*/supervise/down"},
};
enum Metric { kState, kDesired, kLastChange, kNormal };
constexpr FlagSpec kFlags[] = {
    {"collector.runit.servicedir", FlagType::text, "/etc/service", "Path to runit service directory."},
};
constexpr std::string_view kSupervisor = "runit";
constexpr std::uint64_t kTaiEpoch = 4611686018427387914;  // TAI64 of 1970-01-01T00:00:00Z: 2^62 + 10 s

class Runit final : public Collector {
 public:
  explicit Runit(std::string_view folder) : services_(std::string(folder)) {}

  Result<> collect(BatchWriter& out) override {
    if (const auto listed = services_.refresh(); !listed) return fail(listed.error());
    for (const auto& service : services_.names()) {
      const auto supervise = services_.file(service) + "/supervise";
      // Opened anew every time: runsv writes another file and renames it over this one.
      const auto status = read_kernel_file(supervise + "/status");
      if (!status) {
        if (status.error().kind != Errc::gone) out.problem(status.error());
        continue;
      }
      emit(out, service, supervise, *status);
    }
    return {};
  }

 private:
  // 20 bytes (runsv.c, update_status): TAI64N of the last change, the process id, paused, wanted ('u', 'd', 0),
  // terminated, state (0 down, 1 run, 2 finish).
  static void emit(BatchWriter& out, const std::string& service, const std::string& supervise,
                   std::string_view status) {
    constexpr std::size_t kSize = 20, kWanted = 17, kStateAt = 19;
    if (status.size() < kSize) {
      out.problem({Errc::malformed, 0, fmt::format("{}/status: {} bytes, 20 expected", supervise, status.size())});
      return;
    }
    std::uint64_t tai = 0;
    for (const char c : status.substr(0, 8)) tai = tai << 8 | static_cast<unsigned char>(c);
    const bool normally_up = access((supervise + "/down").c_str(), F_OK) != 0;
    out.set(kMetrics[kState], static_cast<unsigned char>(status[kStateAt]), service, kSupervisor);
    out.set(kMetrics[kDesired], status[kWanted] == 'u' ? 1 : 0, service, kSupervisor);
    out.set(kMetrics[kLastChange], static_cast<double>(static_cast<std::int64_t>(tai - kTaiEpoch)), service,
            kSupervisor);
    out.set(kMetrics[kNormal], normally_up ? 1 : 0, service, kSupervisor);
  }

  KernelDir services_;
};

Result<std::unique_ptr<Collector>> make(const Host&, const Options& options) {
  return std::make_unique<Runit>(options.text("collector.runit.servicedir"));
}

}  // namespace

extern const CollectorInfo collector_runit;
const CollectorInfo collector_runit{kMetrics, kFlags, make};

}  // namespace vitald
