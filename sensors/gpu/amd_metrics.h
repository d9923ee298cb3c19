// SPDX-License-Identifier: Apache-2.0
// What amdgpu's binary attribute gpu_metrics tells that no other does: the energy counter, and why clocks are held
// down.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace vitald {

struct AmdMetrics {
  std::optional<std::uint64_t> energy;    // since the driver was loaded, in units of 2^-16 J
  std::optional<std::uint64_t> throttle;  // bits of kinds that are the same for all GPUs: 16 each, below
};
// Bits of `throttle` (SMU_THROTTLER_*_BIT, drivers/gpu/drm/amd/pm/swsmu/inc/amdgpu_smu.h).
struct AmdThrottle {
  std::uint64_t bits;
  std::string_view reason;
};
inline constexpr AmdThrottle kAmdThrottles[] = {
    {0xffffULL, "power"}, {0xffffULL << 16, "current"}, {0xffffULL << 32, "temperature"}, {0xffffULL << 48, "other"}};

// By the structure's version (struct gpu_metrics_v1_3, v1_4 in drivers/gpu/drm/amd/include/kgd_pp_interface.h); of
// others nothing is known.
AmdMetrics parse_amd_metrics(std::string_view bytes);

// The energy counter in joules, which never wraps here: some firmware feeds 32 bits of it, which begin anew every
// 65,536 J. Not thread-safe.
class AmdEnergy {
 public:
  // `elapsed_s`: since the call before, in which the GPU was awake; nothing: it was not so, or nobody knows. A counter
  // that fell by more than a GPU can take in that time was reset: then joules() falls as well.
  double joules(std::uint64_t energy, std::optional<double> elapsed_s);

 private:
  std::optional<std::uint64_t> last_;
  std::uint64_t wrapped_ = 0;
};

}  // namespace vitald
