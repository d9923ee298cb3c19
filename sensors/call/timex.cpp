// SPDX-License-Identifier: Apache-2.0
// How well the clock is kept in step, by adjtimex(2).
#include <sys/timex.h>
#include <cerrno>

#include "core/collector.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_timex_sync_status", gauge, "Is clock synchronized to a reliable server (1 = yes, 0 = no).", "", "",
     "adjtimex(2)"},
    {"node_timex_offset_seconds", gauge, "Time offset in between local system and reference clock.", "", "seconds",
     "adjtimex(2)"},
    {"node_timex_frequency_adjustment_ratio", gauge, "Local clock frequency adjustment.", "", "ratio", "adjtimex(2)"},
    {"node_timex_maxerror_seconds", gauge, "Maximum error in seconds.", "", "seconds", "adjtimex(2)"},
    {"node_timex_estimated_error_seconds", gauge, "Estimated error in seconds.", "", "seconds", "adjtimex(2)"},
    {"node_timex_status", gauge, "Value of the status array bits.", "", "", "adjtimex(2)"},
    {"node_timex_loop_time_constant", gauge, "Phase-locked loop time constant.", "", "", "adjtimex(2)"},
    {"node_timex_tick_seconds", gauge, "Seconds between clock ticks.", "", "seconds", "adjtimex(2)"},
    {"node_timex_pps_frequency_hertz", gauge, "Pulse per second frequency.", "", "hertz", "adjtimex(2)"},
    {"node_timex_pps_jitter_seconds", gauge, "Pulse per second jitter.", "", "seconds", "adjtimex(2)"},
    {"node_timex_pps_shift_seconds", gauge, "Pulse per second interval duration.", "", "seconds", "adjtimex(2)"},
    {"node_timex_pps_stability_hertz", gauge, "Pulse per second stability, average of recent frequency changes.", "",
     "hertz", "adjtimex(2)"},
    {"node_timex_pps_jitter_total", counter, "Pulse per second count of jitter limit exceeded events.", "", "",
     "adjtimex(2)"},
    {"node_timex_pps_calibration_total", counter, "Pulse per second count of calibration intervals.", "", "",
     "adjtimex(2)"},
    {"node_timex_pps_error_total", counter, "Pulse per second count of calibration errors.", "", "", "adjtimex(2)"},
    {"node_timex_pps_stability_exceeded_total", counter, "Pulse per second count of stability limit exceeded events.",
     "", "", "adjtimex(2)"},
    {"node_timex_tai_offset_seconds", gauge, "International Atomic Time (TAI) offset.", "", "seconds", "adjtimex(2)"},
};
constexpr double kMicro = 1e6, kNano = 1e9;
// Frequencies are parts per million with a 16-bit fraction (adjtimex(2)).
constexpr double kPpm = 65536e6;

class Timex final : public Collector {
 public:
  explicit Timex(const Host&) {}

  Result<> collect(BatchWriter& out) override {
    timex t{};  // modes 0: only asks
    const int state = adjtimex(&t);
    if (state < 0 && errno == EPERM) return fail(Errc::absent, "adjtimex: not permitted here (EPERM)", EPERM);
    if (state < 0) return fail(from_errno("adjtimex", errno));
    const double fraction = (t.status & STA_NANO) != 0 ? kNano : kMicro;
    const auto d = [](auto n) { return static_cast<double>(n); };
    const double values[] = {d(state != TIME_ERROR),
                             d(t.offset) / fraction,
                             1 + d(t.freq) / kPpm,
                             d(t.maxerror) / kMicro,
                             d(t.esterror) / kMicro,
                             d(t.status),
                             d(t.constant),
                             d(t.tick) / kMicro,
                             d(t.ppsfreq) / kPpm,
                             d(t.jitter) / fraction,
                             d(t.shift),
                             d(t.stabil) / kPpm,
                             d(t.jitcnt),
                             d(t.calcnt),
                             d(t.errcnt),
                             d(t.stbcnt),
                             d(t.tai)};
    static_assert(std::size(values) == std::size(kMetrics));
    for (std::size_t i = 0; i < std::size(values); ++i) out.set(kMetrics[i], values[i]);
    return {};
  }
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Timex>(host); }

}  // namespace

extern const CollectorInfo collector_timex;
const CollectorInfo collector_timex{kMetrics, {}, make};

}  // namespace vitald
