// SPDX-License-Identifier: Apache-2.0
// What amdgpu's binary attribute gpu_metrics tells that no other does: the energy counter, and why clocks are held
// down.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace vitald {

struct AmdMetrics {
  std::optional<double> joules;           // since the driver was loaded
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

}  // namespace vitald
