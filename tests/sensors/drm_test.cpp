// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Drm, Cases) {
  check_cases("drm", {
                         {"an amdgpu, its connector, and another card",
                          {{"sys/class/drm/card0/device/uevent",
                            "DRIVER=amdgpu\n"
                            "PCI_CLASS=38000\n"},
                           {"sys/class/drm/card0/device/gpu_busy_percent", "4\n"},
                           {"sys/class/drm/card0/device/mem_info_gtt_total", "8573157376\n"},
                           {"sys/class/drm/card0/device/mem_info_gtt_used", "144560128\n"},
                           {"sys/class/drm/card0/device/mem_info_vram_total", "8573157376\n"},
                           {"sys/class/drm/card0/device/mem_info_vram_used", "1490378752\n"},
                           {"sys/class/drm/card0/device/mem_info_vis_vram_total", "8573157376\n"},
                           {"sys/class/drm/card0/device/mem_info_vis_vram_used", "1490378752\n"},
                           {"sys/class/drm/card0/device/mem_info_vram_vendor", "samsung\n"},
                           {"sys/class/drm/card0/device/power_dpm_force_performance_level", "manual\n"},
                           {"sys/class/drm/card0/device/unique_id", "0123456789abcdef\n"},
                           {"sys/class/drm/card0-DP-1/status", "connected\n"},
                           {"sys/class/drm/card1/device/uevent", "DRIVER=i915\n"}},
                          "node_drm_card_info{card=\"card0\",memory_vendor=\"samsung\",power_performance_level="
                          "\"manual\",unique_id=\"0123456789abcdef\",vendor=\"amd\"} 1\n"
                          "node_drm_gpu_busy_percent{card=\"card0\"} 4\n"
                          "node_drm_memory_gtt_size_bytes{card=\"card0\"} 8573157376\n"
                          "node_drm_memory_gtt_used_bytes{card=\"card0\"} 144560128\n"
                          "node_drm_memory_vram_size_bytes{card=\"card0\"} 8573157376\n"
                          "node_drm_memory_vram_used_bytes{card=\"card0\"} 1490378752\n"
                          "node_drm_memory_vis_vram_size_bytes{card=\"card0\"} 8573157376\n"
                          "node_drm_memory_vis_vram_used_bytes{card=\"card0\"} 1490378752\n",
                          ""},
                         {"a card that says little",
                          {{"sys/class/drm/card0/device/uevent", "DRIVER=amdgpu"},
                           {"sys/class/drm/card0/device/gpu_busy_percent", "x\n"}},
                          "node_drm_card_info{card=\"card0\",memory_vendor=\"\",power_performance_level=\"\",unique_id="
                          "\"\",vendor=\"amd\"} 1\n",
                          ""},
                         {"what is no share of a whole: firmware's word for none",
                          {{"sys/class/drm/card0/device/uevent", "DRIVER=amdgpu"},
                           {"sys/class/drm/card0/device/gpu_busy_percent", "65535\n"}},
                          "node_drm_card_info{card=\"card0\",memory_vendor=\"\",power_performance_level=\"\",unique_id="
                          "\"\",vendor=\"amd\"} 1\n",
                          ""},
                         {"no cards", {}, "", ""},
                     });
}

}  // namespace vitald
