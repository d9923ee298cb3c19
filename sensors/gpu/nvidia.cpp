// SPDX-License-Identifier: Apache-2.0
// NVIDIA's GPUs, through NVML, in the names and units of dcgm-exporter; and what processes hold of them, by owner. A
// GPU that fails or is lost costs its own rows; one that sleeps is left asleep.
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <exception>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/log.h"
#include "core/mutex.h"
#include "core/os/host_name.h"
#include "core/os/kernel_file.h"
#include "core/os/root_path.h"
#include "core/text/scan.h"
#include "sensors/gpu/gpu_energy.h"
#include "sensors/gpu/nvml.h"
#include "sensors/owner/table.h"
#include "sensors/read/no_reading.h"
#include "sensors/read/power_state.h"

namespace vitald {
namespace {

using namespace nvml;

constexpr auto kGauge = MetricType::gauge, kCounter = MetricType::counter;
constexpr std::string_view kLabels = "gpu,UUID,pci_bus_id,device,modelName,Hostname,DCGM_FI_DRIVER_VERSION";
constexpr std::string_view kOwnersLabels = "gpu,UUID,owner_kind,owner,namespace,pod,container,guest";
constexpr std::string_view kEnergyName = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION";
constexpr double kMiB = 1048576;

constexpr MetricDesc dcgm(std::string_view name, MetricType type, std::string_view help) {
  return {name, type, help, kLabels, "", "NVML"};
}

// A GPU and what is asked of it. Nothing: it has no such number now.
struct Gpu {
  nvml::Handle handle = nullptr;
  unsigned index = 0;
  std::string uuid, bus_id, device, model;
  std::optional<PowerState> power;  // once its place is known
  bool xids = false;                // NVML tells them
};
using Number = std::optional<double>;

// What one call gave: a number, nothing (this GPU or driver has no such thing), or an error to tell.
class Asking {
 public:
  Asking(const nvml::Library& lib, const Gpu& gpu) : lib_(lib), gpu_(gpu) {}

  template <class Function, class... Args>
  bool call(Function function, std::string_view what, Args... args) {
    return answer(function, what, args...) == kSuccess;
  }
  // The same where what was not got is told apart.
  template <class Function, class... Args>
  int answer(Function function, std::string_view what, Args... args) {
    if (lost_ || !function) return kNotSupported;
    const int result = function(gpu_.handle, args...);
    if (result == kGpuIsLost) lost_ = true;
    if (result != kSuccess && result != kNotSupported && result != kNotFound)
      failed_.push_back(fmt::format("{}: {}", what, lib_.text(result)));
    return result;
  }
  template <class T, class Function>
  Number one(Function function, std::string_view what, double per = 1) {
    T value{};
    return call(function, what, &value) ? number(value, per) : std::nullopt;
  }
  // All ones are NVML's word for what is not known.
  template <class T>
  static Number number(T value, double per = 1) {
    if (value == std::numeric_limits<T>::max()) return std::nullopt;
    return static_cast<double>(value) / per;
  }
  static Number percent(unsigned value) { return value <= 100 ? Number(value) : std::nullopt; }

  [[nodiscard]] bool lost() const { return lost_; }
  [[nodiscard]] const std::vector<std::string>& failed() const { return failed_; }
  [[nodiscard]] const nvml::Library& lib() const { return lib_; }
  [[nodiscard]] const Gpu& gpu() const { return gpu_; }

 private:
  const nvml::Library& lib_;
  const Gpu& gpu_;
  bool lost_ = false;
  std::vector<std::string> failed_;
};

struct Row {
  MetricDesc desc;
  Number (*ask)(Asking& a);
};

template <unsigned Clock>
Number clock_of(Asking& a) {
  unsigned mhz = 0;
  return a.call(a.lib().nvmlDeviceGetClockInfo, "clock", Clock, &mhz) ? Asking::number(mhz) : std::nullopt;
}

// NVML's types of errors: 0 corrected (single bit), 1 not; 0 since the driver was loaded, 1 over the life of the GPU.
template <unsigned Type, unsigned Since>
Number ecc_errors(Asking& a) {
  unsigned long long count = 0;
  return a.call(a.lib().nvmlDeviceGetTotalEccErrors, "ECC errors", Type, Since, &count) ? Asking::number(count)
                                                                                        : std::nullopt;
}

template <std::size_t Which>
Number remapped(Asking& a) {
  unsigned rows[4] = {};
  return a.call(a.lib().nvmlDeviceGetRemappedRows, "remapped rows", &rows[0], &rows[1], &rows[2], &rows[3])
             ? Asking::number(rows[Which])
             : std::nullopt;
}

Number memory_temperature(Asking& a) {
  FieldValue field{};
  field.field = kFieldMemoryTemperature;
  if (!a.call(a.lib().nvmlDeviceGetFieldValues, "memory temperature", 1, &field) || field.result != kSuccess)
    return std::nullopt;
  switch (field.value_type) {
    case 1: return field.value.ui < 1000 ? Number(field.value.ui) : std::nullopt;
    case 5: return field.value.si < 1000 ? Number(field.value.si) : std::nullopt;
    default: return std::nullopt;
  }
}

Number coder(Asking& a, int (*function)(nvml::Handle, unsigned*, unsigned*), std::string_view what) {
  unsigned percent = 0, period_us = 0;
  return a.call(function, what, &percent, &period_us) ? Asking::percent(percent) : std::nullopt;
}

Number utilization(Asking& a, unsigned Utilization::*which) {
  Utilization u{};
  return a.call(a.lib().nvmlDeviceGetUtilizationRates, "utilisation", &u) ? Asking::percent(u.*which) : std::nullopt;
}

unsigned long long throttle_mask(Asking& a, bool& known) {
  unsigned long long mask = 0;
  const auto function = a.lib().nvmlDeviceGetCurrentClocksThrottleReasons
                            ? a.lib().nvmlDeviceGetCurrentClocksThrottleReasons
                            : a.lib().nvmlDeviceGetCurrentClocksEventReasons;
  known = a.call(function, "throttle reasons", &mask) && mask != ULLONG_MAX;
  return mask;
}

// In the order of a scrape. What several numbers share one call for is asked for each of them: calls that read the
// driver's memory take microseconds.
constexpr Row kRows[] = {
    {dcgm("DCGM_FI_DEV_SM_CLOCK", kGauge, "Clock of the multiprocessors, in MHz."), clock_of<kClockSm>},
    {dcgm("DCGM_FI_DEV_MEM_CLOCK", kGauge, "Clock of the memory, in MHz."), clock_of<kClockMemory>},
    {dcgm("DCGM_FI_DEV_GPU_TEMP", kGauge, "Temperature of the GPU, in degrees Celsius."),
     [](Asking& a) -> Number {
       unsigned celsius = 0;
       if (!a.call(a.lib().nvmlDeviceGetTemperature, "temperature", 0U, &celsius) || celsius > 1000) return {};
       return celsius;
     }},
    {dcgm("DCGM_FI_DEV_MEMORY_TEMP", kGauge, "Temperature of the memory, in degrees Celsius."), memory_temperature},
    {dcgm("DCGM_FI_DEV_FAN_SPEED", kGauge, "Fan, in percent of its most; may be more than 100."),
     [](Asking& a) { return a.one<unsigned>(a.lib().nvmlDeviceGetFanSpeed, "fan"); }},
    {dcgm("DCGM_FI_DEV_POWER_USAGE", kGauge, "Power draw, in watts."),
     [](Asking& a) { return a.one<unsigned>(a.lib().nvmlDeviceGetPowerUsage, "power", 1000); }},
    {dcgm("DCGM_FI_DEV_POWER_MGMT_LIMIT", kGauge, "Power limit, in watts."),
     [](Asking& a) { return a.one<unsigned>(a.lib().nvmlDeviceGetPowerManagementLimit, "power limit", 1000); }},
    {dcgm(kEnergyName, kCounter, "Energy since the driver was loaded, in millijoules."),
     [](Asking& a) { return a.one<unsigned long long>(a.lib().nvmlDeviceGetTotalEnergyConsumption, "energy"); }},
    {dcgm("DCGM_FI_DEV_PSTATE", kGauge, "Performance state: 0 is the fastest, 15 the slowest."),
     [](Asking& a) -> Number {
       int state = 0;
       if (!a.call(a.lib().nvmlDeviceGetPerformanceState, "performance state", &state) || state < 0 || state > 15)
         return {};
       return state;
     }},
    {dcgm("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", kCounter, "Packets on PCIe that had to be sent again."),
     [](Asking& a) { return a.one<unsigned>(a.lib().nvmlDeviceGetPcieReplayCounter, "PCIe replays"); }},
    {dcgm("DCGM_FI_DEV_GPU_UTIL", kGauge, "Share of time that something ran, in percent."),
     [](Asking& a) { return utilization(a, &Utilization::gpu); }},
    {dcgm("DCGM_FI_DEV_MEM_COPY_UTIL", kGauge, "Share of time that memory was read or written, in percent."),
     [](Asking& a) { return utilization(a, &Utilization::memory); }},
    {dcgm("DCGM_FI_DEV_ENC_UTIL", kGauge, "Utilisation of the video encoder, in percent."),
     [](Asking& a) { return coder(a, a.lib().nvmlDeviceGetEncoderUtilization, "encoder"); }},
    {dcgm("DCGM_FI_DEV_DEC_UTIL", kGauge, "Utilisation of the video decoder, in percent."),
     [](Asking& a) { return coder(a, a.lib().nvmlDeviceGetDecoderUtilization, "decoder"); }},
    {dcgm("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", kCounter, "Memory errors that were corrected, since the driver was loaded."),
     ecc_errors<0, 0>},
    {dcgm("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", kCounter, "Memory errors that could not be, since the driver was loaded."),
     ecc_errors<1, 0>},
    {dcgm("DCGM_FI_DEV_ECC_SBE_AGG_TOTAL", kCounter, "Memory errors that were corrected, over the life of the GPU."),
     ecc_errors<0, 1>},
    {dcgm("DCGM_FI_DEV_ECC_DBE_AGG_TOTAL", kCounter, "Memory errors that could not be, over the life of the GPU."),
     ecc_errors<1, 1>},
    {dcgm("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", kCounter, "Rows of memory replaced after corrected errors."),
     remapped<0>},
    {dcgm("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", kCounter,
          "Rows of memory replaced after errors that could not be."),
     remapped<1>},
    {dcgm("DCGM_FI_DEV_ROW_REMAP_PENDING", kGauge, "Whether rows wait for a reset to be replaced."), remapped<2>},
    {dcgm("DCGM_FI_DEV_ROW_REMAP_FAILURE", kGauge, "Whether rows could not be replaced."), remapped<3>},
};

constexpr MetricDesc kFbTotal = dcgm("DCGM_FI_DEV_FB_TOTAL", kGauge, "Memory of the GPU, in MiB.");
constexpr MetricDesc kFbFree = dcgm("DCGM_FI_DEV_FB_FREE", kGauge, "Memory that is free, in MiB.");
constexpr MetricDesc kFbUsed = dcgm("DCGM_FI_DEV_FB_USED", kGauge, "Memory that is used, in MiB.");
constexpr MetricDesc kFbReserved =
    dcgm("DCGM_FI_DEV_FB_RESERVED", kGauge, "Memory that the driver keeps for itself, in MiB.");
constexpr MetricDesc kThrottleMask =
    dcgm("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", kGauge,
         "Why the clocks are not higher, as NVML's bits; by name: vitald_gpu_throttled.");
constexpr MetricDesc kXid =
    dcgm("DCGM_FI_DEV_XID_ERRORS", kGauge,
         "The last XID error since the worker started; 0: none. Absent where NVML does not tell.");
constexpr MetricDesc kXids{"vitald_gpu_xid_errors_total",
                           kCounter,
                           "XID errors since the worker started, by number.",
                           "gpu,UUID,xid",
                           "",
                           "NVML"};
constexpr MetricDesc kThrottled{
    "vitald_gpu_throttled", kGauge, "Whether the clocks are not higher for this reason, 1 or 0.",
    "gpu,UUID,reason",      "",     "NVML"};
constexpr MetricDesc kGpus{
    "vitald_gpu_devices",
    kGauge,
    "GPUs that NVML has, of them those that answer, and of those the ones that sleep and are not asked (runtime power "
    "management).",
    "state",
    "",
    "NVML, runtime_status"};
constexpr MetricDesc kOwnerMemory{"vitald_owner_gpu_memory_bytes",
                                  kGauge,
                                  "Memory of the GPU that the owner's processes hold.",
                                  kOwnersLabels,
                                  "bytes",
                                  "NVML"};
constexpr MetricDesc kOwnerBusy{
    "vitald_owner_gpu_utilization_ratio",
    kGauge,
    "Share of the GPU's multiprocessors that the owner's processes used, 0 to 1, on average "
    "of the samples since the run before.",
    kOwnersLabels,
    "",
    "NVML"};
constexpr const MetricDesc* kSingles[] = {&kFbTotal, &kFbFree,    &kFbUsed, &kFbReserved,  &kThrottleMask, &kXid,
                                          &kXids,    &kThrottled, &kGpus,   &kOwnerMemory, &kOwnerBusy};

constexpr auto kMetrics = [] {
  std::array<MetricDesc, std::size(kRows) + std::size(kSingles) + std::size(kGpuEnergyMetrics)> out{};
  std::size_t n = 0;
  for (const auto& r : kRows) out[n++] = r.desc;
  for (const auto* d : kSingles) out[n++] = *d;
  for (const auto& d : kGpuEnergyMetrics) out[n++] = d;
  return out;
}();

// nvmlClocksThrottleReason...: a GPU that idles or is set so is not told among those that something holds down.
struct Reason {
  unsigned long long bit;
  std::string_view name;
};
constexpr Reason kReasons[] = {{0x1, "idle"},        {0x2, "application_clocks"}, {0x4, "sw_power_cap"},
                               {0x8, "hw_slowdown"}, {0x10, "sync_boost"},        {0x20, "sw_thermal"},
                               {0x40, "hw_thermal"}, {0x80, "hw_power_brake"},    {0x100, "display_clocks"}};

constexpr FlagSpec kFlags[] = {
    {"collector.nvidia.library", FlagType::text, "libnvidia-ml.so.1",
     "nvidia: NVML, by its name or path. Where it is given, it is opened also where no driver is seen."},
};

class Nvidia final : public Collector {
 public:
  Nvidia(const Host& host, std::string library)
      : host_(host), library_(std::move(library)), owners_(host.shared<OwnerTable>()), host_name_(host_name()) {}
  ~Nvidia() override {
    {
      const MutexLock lock(mutex_);
      ending_ = true;
    }
    wake_.notify_all();
    if (looking_.joinable()) looking_.join();
  }
  Nvidia(const Nvidia&) = delete;
  Nvidia& operator=(const Nvidia&) = delete;

  Result<> collect(BatchWriter& out) override {
    const MutexLock lock(mutex_);
    if (const auto ready = get_ready(); !ready) return ready;
    owners_.cycle(host_.clock().boot_ns());
    make_events(out);
    std::size_t answering = 0, sleeping = 0;
    lost_ = false;
    const auto bus = host_bus();
    for (auto& gpu : gpus_) {
      const bool sleeps = asleep(gpu, bus);
      sleeping += sleeps ? 1 : 0;
      answering += sleeps || emit(gpu, out) ? 1 : 0;
    }
    take_xids(out);
    for (const auto& gpu : gpus_) emit_xids(gpu, out);
    // Also of one that sleeps or did not answer now: what was counted stays.
    for (const auto& gpu : gpus_)
      if (gpu.handle) seen_of(gpu).energy.emit(out, Decimal(gpu.index), gpu.uuid, "sm_time");
    out.set(kGpus, static_cast<double>(std::max(gpus_.size(), missed_)), "all");
    out.set(kGpus, static_cast<double>(answering), "answering");
    out.set(kGpus, static_cast<double>(sleeping), "asleep");
    // One that was reset meanwhile answers to a new beginning only.
    lost_rounds_ = lost_ ? lost_rounds_ + 1 : 0;
    if (lost_rounds_ == kLostRounds) {
      lost_rounds_ = 0;
      missed_ = std::max(gpus_.size(), missed_);  // the driver may count without it then
      end();
    }
    start_looking();
    return {};
  }

  [[nodiscard]] std::string status() const override {
    const MutexLock lock(mutex_);
    return fmt::format("{} GPUs, driver {}", gpus_.size(), driver_);
  }

 private:
  static constexpr int kLostRounds = 20;
  // NVML takes a sample of what processes do every 1/6 to 1 second. Of what it has since it was asked last it gives one
  // for each process, an average of times that it does not tell: so it is asked that often.
  static constexpr double kSampleComesS = 3;
  static constexpr std::int64_t kLookEveryNs = 1'000'000'000;
  // What is less apart is of one time that it looked at all of them.
  static constexpr unsigned long long kOneLookUs = 50'000;

  struct Seen {
    explicit Seen(OwnerTable& owners) : energy(owners) {}
    unsigned long long last_xid = 0, samples_us = 0;
    std::map<unsigned long long, double> xids;
    std::int64_t used_ns = 0;  // when it was last told which processes kept it busy
    bool has_processes = false;
    // Since the run before: for how long, of how long, and whether once it did not tell.
    std::map<OwnerId, double> busy_s;
    double looked_s = 0;
    bool unknown = false;
    bool begun = false;  // there was a run before
    GpuEnergy energy;
  };
  Seen& seen_of(const Gpu& gpu) REQUIRES(mutex_) { return seen_.try_emplace(gpu.uuid, owners_).first->second; }

  Result<> get_ready() REQUIRES(mutex_) {
    if (!lib_) {
      auto opened = open_library(library_);
      if (!opened) return fail(std::move(opened.error()));
      lib_ = *opened;
    }
    if (!initialized_) {
      if (const int r = lib_->nvmlInit_v2(); r != kSuccess)
        return fail(Errc::io, fmt::format("NVML: nvmlInit: {}", lib_->text(r)));
      initialized_ = true;
      char version[96] = {};
      if (lib_->nvmlSystemGetDriverVersion && lib_->nvmlSystemGetDriverVersion(version, sizeof version) == kSuccess)
        driver_ = version;
    }
    unsigned count = 0;
    if (const int r = lib_->nvmlDeviceGetCount_v2(&count); r != kSuccess) {
      end();  // the driver went away: from the start, the next time
      missed_ = 0;
      return fail(Errc::io, fmt::format("NVML: nvmlDeviceGetCount: {}", lib_->text(r)));
    }
    if (count >= missed_) missed_ = 0;
    if (count != gpus_.size()) look_for_gpus(count);
    return {};
  }

  void end() REQUIRES(mutex_) {
    if (events_ && lib_->nvmlEventSetFree) lib_->nvmlEventSetFree(events_);
    events_ = nullptr;
    gpus_.clear();
    if (lib_->nvmlShutdown) lib_->nvmlShutdown();
    initialized_ = false;
  }

  void look_for_gpus(unsigned count) REQUIRES(mutex_) {
    gpus_.clear();
    gpus_.resize(count);
    for (unsigned i = 0; i < count; ++i) gpus_[i].index = i;
  }

  // Where the driver's GPUs are, in the order in which NVML counts them. Asked only while one of them is not known.
  std::vector<std::string> host_bus() const REQUIRES(mutex_) {
    if (std::ranges::none_of(gpus_, [](const auto& gpu) { return !gpu.handle; })) return {};
    auto names = list_directory(host_.sysfs("bus/pci/drivers/nvidia")).value_or(std::vector<std::string>{});
    std::erase_if(names, [](const auto& name) { return std::ranges::count(name, ':') != 2; });  // bind, new_id, module
    return names;
  }
  PowerState power_at(const std::string& place) const { return PowerState(host_.sysfs("bus/pci/devices/" + place)); }

  // Every question wakes one that sleeps, and so does asking for its handle. Of one that was never awake it is told by
  // its place among the driver's; where NVML has not all of those, by whether they all sleep.
  bool asleep(Gpu& gpu, const std::vector<std::string>& bus) const REQUIRES(mutex_) {
    if (gpu.power) return gpu.power->asleep();
    if (gpu.handle || bus.empty()) return false;
    if (bus.size() == gpus_.size()) return power_at(bus[gpu.index]).asleep();
    return std::ranges::all_of(bus, [this](const auto& place) { return power_at(place).asleep(); });
  }

  // "00000000:0F:00.0" -> "0000:0f:00.0", as the kernel has it.
  static std::string pci_place(const std::string& bus_id) {
    std::string_view rest = bus_id;
    const auto domain = parse_int<std::uint32_t>(take_until(rest, ':'), 16);
    if (!domain || rest.empty()) return {};
    auto place = fmt::format("{:04x}:{}", *domain, rest);
    std::ranges::transform(place, place.begin(),
                           [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c; });
    return place;
  }

  // A GPU that does not tell who it is yet is asked again in the next run.
  void identify(Gpu& gpu) const REQUIRES(mutex_) {
    nvml::Handle handle = nullptr;
    if (lib_->nvmlDeviceGetHandleByIndex_v2(gpu.index, &handle) != kSuccess) return;
    char text[96] = {};
    const auto get = [&](auto function) {
      text[0] = '\0';
      return function && function(handle, text, static_cast<unsigned>(sizeof text - 1)) == kSuccess ? std::string(text)
                                                                                                    : std::string();
    };
    gpu.uuid = get(lib_->nvmlDeviceGetUUID);
    gpu.model = get(lib_->nvmlDeviceGetName);
    unsigned minor = gpu.index;
    if (lib_->nvmlDeviceGetMinorNumber) lib_->nvmlDeviceGetMinorNumber(handle, &minor);
    gpu.device = fmt::format("nvidia{}", minor);
    PciInfo pci{};
    if (lib_->nvmlDeviceGetPciInfo_v3 && lib_->nvmlDeviceGetPciInfo_v3(handle, &pci) == kSuccess)
      gpu.bus_id.assign(pci.bus_id, strnlen(pci.bus_id, sizeof pci.bus_id));
    if (gpu.uuid.empty()) return;
    gpu.handle = handle;
    if (const auto place = pci_place(gpu.bus_id); !place.empty()) gpu.power.emplace(power_at(place));
  }

  // Whether it answers.
  bool emit(Gpu& gpu, BatchWriter& out) REQUIRES(mutex_) {
    if (!gpu.handle) identify(gpu);
    if (!gpu.handle) {
      out.problem({Errc::io, 0, fmt::format("NVML: GPU {} does not say who it is", gpu.index)});
      return false;
    }
    const Decimal index(gpu.index);
    const std::string_view driver = driver_;  // the compiler does not see that the lock is held below
    const auto set = [&](const MetricDesc& desc, double value) {
      out.set(desc, value, index, gpu.uuid, gpu.bus_id, gpu.device, gpu.model, host_name_, driver);
    };
    Asking asking(*lib_, gpu);
    if (events_ && !gpu.xids) gpu.xids = asking.call(lib_->nvmlDeviceRegisterEvents, "XID events", kXidEvent, events_);
    Number joules;
    for (const auto& row : kRows)
      if (const auto value = row.ask(asking)) {
        set(row.desc, *value);
        if (row.desc.name == kEnergyName && !is_no_reading(Quantity::other, *value, 1, true)) joules = *value / 1000;
      }
    memory(asking, set);
    bool known_mask = false;
    const auto mask = throttle_mask(asking, known_mask);
    if (known_mask) {
      set(kThrottleMask, static_cast<double>(mask));
      for (const auto& reason : kReasons)
        out.set(kThrottled, (mask & reason.bit) != 0 ? 1 : 0, index, gpu.uuid, reason.name);
    }
    processes(asking, out);
    if (!asking.lost()) step(gpu, joules, out);
    if (!asking.failed().empty())
      out.problem({Errc::io, 0, fmt::format("NVML: GPU {} ({}): {}", gpu.index, gpu.uuid, asking.failed().front())});
    lost_ |= asking.lost();
    return !asking.lost();
  }

  // Also of one that sleeps. That there was none is known only where NVML would have told.
  void emit_xids(const Gpu& gpu, BatchWriter& out) REQUIRES(mutex_) {
    if (!gpu.handle) return;
    const Decimal index(gpu.index);
    const auto& seen = seen_of(gpu);
    if ((gpu.xids && told_) || seen.last_xid != 0)
      out.set(kXid, static_cast<double>(seen.last_xid), index, gpu.uuid, gpu.bus_id, gpu.device, gpu.model, host_name_,
              driver_);
    for (const auto& [xid, count] : seen.xids) out.set(kXids, count, index, gpu.uuid, Decimal(xid));
  }

  template <class Set>
  static void memory(Asking& a, Set&& set) {
    MemoryV2 v2{};
    v2.version = kMemoryV2;
    // Drivers that know another version of the structure refuse this one: whatever is wrong, the old one tells.
    const auto get_v2 = a.lib().nvmlDeviceGetMemoryInfo_v2;
    if (!a.lost() && get_v2 && get_v2(a.gpu().handle, &v2) == kSuccess) {
      if (v2.total == ULLONG_MAX) return;
      set(kFbTotal, static_cast<double>(v2.total) / kMiB);
      set(kFbFree, static_cast<double>(v2.free) / kMiB);
      set(kFbUsed, static_cast<double>(v2.used) / kMiB);
      set(kFbReserved, static_cast<double>(v2.reserved) / kMiB);
      return;
    }
    Memory v1{};
    if (!a.call(a.lib().nvmlDeviceGetMemoryInfo, "memory", &v1)) return;
    if (v1.total == ULLONG_MAX) return;
    set(kFbTotal, static_cast<double>(v1.total) / kMiB);
    set(kFbFree, static_cast<double>(v1.free) / kMiB);
    set(kFbUsed, static_cast<double>(v1.used) / kMiB);
  }

  using ProcessesOf = int (*)(nvml::Handle, unsigned*, ProcessInfo*);
  // More come while it is asked: what does not fit at the second try is left for the next run.
  static std::vector<ProcessInfo> list(Asking& a, ProcessesOf function, std::string_view what) {
    if (a.lost() || !function) return {};
    std::vector<ProcessInfo> out(64);
    for (int attempt = 0; attempt < 2; ++attempt) {
      auto count = static_cast<unsigned>(out.size());
      const int result = function(a.gpu().handle, &count, out.data());
      if (result == kSuccess) {
        out.resize(std::min<std::size_t>(count, out.size()));
        return out;
      }
      if (result != kInsufficientSize) {
        // Its error is told by call(), which has the same answer.
        if (result != kNotSupported) a.call(function, what, &count, out.data());
        return {};
      }
      out.resize(std::min<std::size_t>(count + 64, 65'536));
    }
    return {};
  }

  void processes(Asking& a, BatchWriter& out) REQUIRES(mutex_) {
    const auto& lib = a.lib();
    std::map<unsigned, double> memory;  // by process: one may be in both lists
    std::map<OwnerId, double> held;
    auto& seen = seen_of(a.gpu());
    seen.has_processes = false;
    const auto compute = lib.nvmlDeviceGetComputeRunningProcesses_v3 ? lib.nvmlDeviceGetComputeRunningProcesses_v3
                                                                     : lib.nvmlDeviceGetComputeRunningProcesses_v2;
    for (const auto function : {compute, lib.nvmlDeviceGetGraphicsRunningProcesses_v3})
      for (const auto& p : list(a, function, "processes")) {
        seen.has_processes = true;
        if (p.used_memory != ULLONG_MAX) memory[p.pid] = static_cast<double>(p.used_memory);
      }
    for (const auto& [pid, bytes] : memory) held[owners_.of_pid(static_cast<pid_t>(pid))] += bytes;
    for (const auto& [id, bytes] : held) set_owner(out, kOwnerMemory, bytes, a.gpu(), id);
    if (!looking_.joinable() || host_.clock().boot_ns() - seen.used_ns >= kLookEveryNs) look(a);
  }

  // Which processes kept it busy since it was looked at before.
  void look(Asking& a) REQUIRES(mutex_) {
    auto& seen = seen_of(a.gpu());
    std::vector<ProcessSample> samples(512);
    auto count = static_cast<unsigned>(samples.size());
    const int answered = a.answer(a.lib().nvmlDeviceGetProcessUtilization, "utilisation of processes", samples.data(),
                                  &count, seen.samples_us);
    if (answered != kSuccess && answered != kNotFound) {
      seen.unknown = true;
      return;
    }
    samples.resize(answered == kSuccess ? std::min<std::size_t>(count, samples.size()) : 0);
    const auto now = host_.clock().boot_ns();
    const bool first = seen.used_ns == 0;  // from which on energy is counted: it waits for nothing
    const double elapsed_s = first ? 0 : static_cast<double>(now - seen.used_ns) / 1e9;
    // No sample is nothing that ran, or one that comes yet.
    if (!first && samples.empty() && seen.has_processes && elapsed_s < kSampleComesS) return;
    seen.used_ns = now;
    // Of a process that did nothing when the others were looked at there is no sample: all were looked at as often.
    std::map<unsigned, double> by_pid;
    std::vector<unsigned long long> times_us;
    for (const auto& s : samples) {
      if (s.time_us <= seen.samples_us || s.sm > 100) continue;
      times_us.push_back(s.time_us);
      by_pid[s.pid] += s.sm;
    }
    for (const auto& s : samples) seen.samples_us = std::max(seen.samples_us, s.time_us);
    std::ranges::sort(times_us);
    double looks = 0;
    unsigned long long look_us = 0;
    for (const auto time_us : times_us) {
      if (looks != 0 && time_us - look_us < kOneLookUs) continue;
      look_us = time_us;
      ++looks;
    }
    const double covered_s = first ? looks : elapsed_s;
    seen.looked_s += covered_s;
    for (const auto& [pid, sum] : by_pid)
      seen.busy_s[owners_.of_pid(static_cast<pid_t>(pid))] += std::min(sum / looks / 100, 1.0) * covered_s;
  }

  // What was seen since the run before. Nothing yet: the energy waits until there is.
  void step(const Gpu& gpu, Number joules, BatchWriter& out) REQUIRES(mutex_) {
    auto& seen = seen_of(gpu);
    const bool waits = !seen.unknown && seen.looked_s == 0 && seen.begun;
    std::optional<std::vector<GpuEnergy::Used>> used;
    if (!seen.unknown) used.emplace();
    for (const auto& [id, seconds] : seen.busy_s) {
      if (!used || seen.looked_s == 0) break;
      set_owner(out, kOwnerBusy, std::min(seconds / seen.looked_s, 1.0), gpu, id);
      used->push_back({id, seconds});
    }
    seen.energy.step(host_.clock().boot_ns(), waits ? std::nullopt : joules, used);
    seen.begun = true;
    seen.busy_s.clear();
    seen.looked_s = 0;
    seen.unknown = false;
  }

  // Between two runs, so that a process that was busy for a moment is not taken for one that was busy all the time.
  // Not in a tree of a test, whose clock stands still.
  void start_looking() REQUIRES(mutex_) {
    if (looking_.joinable() || !host_.view().kernel) return;
    sigset_t every, before;
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);  // signals are for the main thread
    try {
      looking_ = std::thread([this] { keep_looking(); });
    } catch (const std::exception& e) {
      if (!std::exchange(no_thread_said_, true))
        log::warn("GPUs are looked at once a run only: no thread to be had",
                  {{"collector", "nvidia"}, {"err", e.what()}});
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void keep_looking() {
    pthread_setname_np(pthread_self(), "gpu-processes");
    MutexLock lock(mutex_);
    while (!ending_) {
      wake_.wait_for_ns(lock, kLookEveryNs);
      if (ending_ || !initialized_) continue;
      for (auto& gpu : gpus_) {
        // One that nobody has open would be kept awake by the question.
        if (!gpu.handle || !seen_of(gpu).has_processes || (gpu.power && gpu.power->asleep())) continue;
        Asking asking(*lib_, gpu);
        look(asking);  // what fails is told by the next run, which asks the same
      }
    }
  }

  void set_owner(BatchWriter& out, const MetricDesc& desc, double value, const Gpu& gpu, OwnerId id) {
    const auto owner = owners_.at(id);
    const Decimal index(gpu.index);
    std::vector<Label> labels{{"gpu", index}, {"UUID", gpu.uuid}};
    labels.insert(labels.end(), owner->labels.begin(), owner->labels.end());
    out.set_labels(desc, value, labels);
  }

  void make_events(BatchWriter& out) REQUIRES(mutex_) {
    if (events_ || !lib_->nvmlEventSetCreate) return;
    if (const int result = lib_->nvmlEventSetCreate(&events_); result != kSuccess) {
      events_ = nullptr;
      no_events(result, out);
    }
  }
  void no_events(int result, BatchWriter& out) const REQUIRES(mutex_) {
    if (result != kNotSupported) out.problem({Errc::io, 0, fmt::format("NVML: XID events: {}", lib_->text(result))});
  }

  void take_xids(BatchWriter& out) REQUIRES(mutex_) {
    told_ = false;
    if (!events_ || !lib_->nvmlEventSetWait_v2) return;
    EventData data{};
    for (int most = 0; most < 256; ++most) {
      const int result = lib_->nvmlEventSetWait_v2(events_, &data, 0);
      told_ = result == kSuccess || result == kTimeout;
      if (!told_) no_events(result, out);
      if (result != kSuccess) return;
      const auto gpu = std::ranges::find(gpus_, data.device, &Gpu::handle);
      if (data.type != kXidEvent || gpu == gpus_.end()) continue;
      auto& seen = seen_of(*gpu);
      seen.last_xid = data.data;
      seen.xids[data.data] += 1;
      Event event;
      event.type = "gpu_xid";
      event.boot_ns = host_.clock().boot_ns();
      event.text = fmt::format("GPU {} ({}, {}) reported XID {}", gpu->index, gpu->model, gpu->bus_id, data.data);
      event.fields = {{"gpu", fmt::to_string(gpu->index)}, {"UUID", gpu->uuid}, {"xid", fmt::to_string(data.data)}};
      out.event(std::move(event));
    }
  }

  const Host& host_;
  const std::string library_;
  OwnerTable& owners_;
  const std::string host_name_;
  bool no_thread_said_ = false;

  mutable Mutex mutex_;  // of all that is told of GPUs, during the calls, too: a worker whose call hangs is ended
  CondVar wake_;
  bool ending_ GUARDED_BY(mutex_) = false;
  const nvml::Library* lib_ GUARDED_BY(mutex_) = nullptr;
  bool initialized_ GUARDED_BY(mutex_) = false;
  bool lost_ GUARDED_BY(mutex_) = false;       // some GPU in this round
  int lost_rounds_ GUARDED_BY(mutex_) = 0;     // so many in a row
  std::size_t missed_ GUARDED_BY(mutex_) = 0;  // how many there were when one was lost
  std::string driver_ GUARDED_BY(mutex_);
  EventSet events_ GUARDED_BY(mutex_) = nullptr;
  bool told_ GUARDED_BY(mutex_) = false;  // what XIDs there were, in this round
  std::vector<Gpu> gpus_ GUARDED_BY(mutex_);
  std::map<std::string, Seen> seen_ GUARDED_BY(mutex_);  // by uuid
  std::thread looking_;                                  // last: it uses the rest
};

// The library is looked at in the worker only: it is heavy, and its calls can hang.
Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  auto library = options.text("collector.nvidia.library");
  if (!options.given("collector.nvidia.library")) {
    const auto version = host.procfs("driver/nvidia/version");
    const auto control = path_below_root(host.roots().root, "/dev/nvidiactl");
    if (access(version.c_str(), F_OK) != 0 && access(control.c_str(), F_OK) != 0)
      return fail(Errc::absent, fmt::format("{}, {}: NVIDIA's driver is not loaded", version, control));
  }
  return std::make_unique<Nvidia>(host, std::string(library));
}

}  // namespace

extern const CollectorInfo collector_nvidia;
const CollectorInfo collector_nvidia{kMetrics, kFlags, make};

}  // namespace vitald
