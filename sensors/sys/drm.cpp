// SPDX-License-Identifier: Apache-2.0
// Load and memory of graphics cards whose driver tells them (amdgpu), from /sys/class/drm.
#include <array>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/power_state.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr std::string_view kSource = "/sys/class/drm/card*/device";
constexpr MetricDesc kMetrics[] = {
    {"node_drm_card_info", gauge, "Card information", "card,memory_vendor,power_performance_level,unique_id,vendor", "",
     kSource},
};
constexpr MetricDesc kNumberMetrics[] = {
    {"node_drm_gpu_busy_percent", gauge, "How busy the GPU is as a percentage.", "card", "", kSource},
    {"node_drm_memory_gtt_size_bytes", gauge, "The size of the graphics translation table (GTT) block in bytes.",
     "card", "bytes", kSource},
    {"node_drm_memory_gtt_used_bytes", gauge, "The used amount of the graphics translation table (GTT) block in bytes.",
     "card", "bytes", kSource},
    {"node_drm_memory_vram_size_bytes", gauge, "The size of VRAM in bytes.", "card", "bytes", kSource},
    {"node_drm_memory_vram_used_bytes", gauge, "The used amount of VRAM in bytes.", "card", "bytes", kSource},
    {"node_drm_memory_vis_vram_size_bytes", gauge, "The size of visible VRAM in bytes.", "card", "bytes", kSource},
    {"node_drm_memory_vis_vram_used_bytes", gauge, "The used amount of visible VRAM in bytes.", "card", "bytes",
     kSource},
};
// In the order of these.
constexpr std::string_view kBusy = "gpu_busy_percent";
constexpr std::string_view kNumbers[] = {kBusy,
                                         "mem_info_gtt_total",
                                         "mem_info_gtt_used",
                                         "mem_info_vram_total",
                                         "mem_info_vram_used",
                                         "mem_info_vis_vram_total",
                                         "mem_info_vis_vram_used"};
static_assert(std::size(kNumbers) == std::size(kNumberMetrics));
constexpr const MetricDesc& kInfo = row(kMetrics, "node_drm_card_info");
constexpr auto kFamilies = families_of(kMetrics, kNumberMetrics);
// In the order of the info family's labels after card.
constexpr std::string_view kTexts[] = {"mem_info_vram_vendor", "power_dpm_force_performance_level", "unique_id"};

// A card, or a connector of one (card0-DP-1).
struct Card {
  explicit Card(const std::string& path) : uevent(path + "/device/uevent"), power(path + "/device") {
    for (const auto f : kTexts) texts.emplace_back(path + "/device/" + std::string(f));
    for (const auto f : kNumbers) numbers.emplace_back(path + "/device/" + std::string(f));
  }
  Attribute uevent;
  PowerState power;
  std::vector<Attribute> texts, numbers;
  std::array<std::string, std::size(kTexts)> known;  // the texts as they were last read
};

class Drm final : public Collector {
 public:
  explicit Drm(const Host& host) : cards_(host.sysfs("class/drm")) {}

  // Only amdgpu tells these things in sysfs. No such card is no error: nothing is emitted.
  Result<> collect(BatchWriter& out) override {
    if (auto listed = cards_.refresh(); !listed && listed.error().kind != Errc::gone) return listed;
    for (auto& [name, card] : cards_.items()) {
      std::string_view number = name;
      if (!take_prefix(number, "card") || !parse_u64(number)) continue;
      if (card.uevent.text().value_or("").find("DRIVER=amdgpu") == std::string_view::npos) continue;
      // Each of the files below resumes a card that sleeps (amdgpu_pm.c, pm_runtime_get_sync). What it is was read
      // while it was awake, or is not known.
      const bool asleep = card.power.asleep();
      if (!asleep)
        for (std::size_t i = 0; i < std::size(kTexts); ++i) card.known[i] = card.texts[i].text().value_or("");
      out.set(kInfo, 1, name, card.known[0], card.known[1], card.known[2], "amd");
      if (asleep) continue;
      // A card that cannot say (an APU, a virtual function) has no number, or 65535 % by its firmware; 0 is a card that
      // is idle.
      for (std::size_t i = 0; i < std::size(kNumbers); ++i)
        if (const auto n = number_of(card.numbers[i], out); n && (kNumbers[i] != kBusy || *n <= 100))
          out.set(kNumberMetrics[i], *n, name);
    }
    return {};
  }

 private:
  KernelItems<Card> cards_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Drm>(host); }

}  // namespace

extern const CollectorInfo collector_drm;
const CollectorInfo collector_drm{kFamilies, {}, make};

}  // namespace vitald
