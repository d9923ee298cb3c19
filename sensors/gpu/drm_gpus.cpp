// SPDX-License-Identifier: Apache-2.0
// GPUs of AMD and Intel as their drivers (amdgpu, i915, xe) tell them in sysfs, and what processes use of them, by
// owner, from /proc/PID/fdinfo. One that sleeps is left asleep: most of these files would wake it.
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/gpu/amd_metrics.h"
#include "sensors/gpu/drm_client.h"
#include "sensors/gpu/gpu_energy.h"
#include "sensors/owner/table.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/no_reading.h"
#include "sensors/read/power_state.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr std::string_view kHwmon = "/sys/class/drm/card*/device/hwmon", kFdinfo = "/proc/*/fdinfo";
constexpr MetricDesc kOwn[] = {
    {"vitald_drm_gpus", gauge,
     "GPUs of amdgpu, i915 and xe, and of them those that sleep and are not asked (runtime power management).", "state",
     "", "/sys/class/drm"},
    {"vitald_drm_gpu_info", gauge, "Which GPU it is, 1.", "gpu,UUID,driver,pci_bus_id", "", "/sys/class/drm"},
    {"vitald_drm_unreadable_processes", gauge,
     "Processes whose open files may not be looked at, so that what they use of GPUs is nobody's: it takes "
     "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH. How much of the energy that is follows on amdgpu from how busy the GPU "
     "says it is (gpu_busy_percent) beyond what the others' gfx and compute engines worked; elsewhere nobody knows, "
     "and "
     "all that is beyond idle is unattributed.",
     "", "", kFdinfo},
    {"vitald_gpu_power_watts", gauge, "What the GPU takes, as its driver has it.", kGpuLabels, "watts", kHwmon},
    {"vitald_gpu_temperature_celsius", gauge, "Temperature, by the driver's name of the sensor (edge, junction, mem).",
     "gpu,UUID,sensor", "celsius", kHwmon},
    {"vitald_gpu_busy_ratio", gauge, "Share of time that something ran, 0 to 1 (amdgpu).", kGpuLabels, "",
     "gpu_busy_percent"},
    {"vitald_gpu_memory_bytes", gauge, "Memory of the GPU by kind (amdgpu: vram, its own; gtt, of the machine).",
     "gpu,UUID,memory", "bytes", "mem_info_*_total"},
    {"vitald_gpu_memory_used_bytes", gauge, "What of it is used.", "gpu,UUID,memory", "bytes", "mem_info_*_used"},
    {"vitald_gpu_throttled", gauge, "Whether the clocks are not higher for this reason, 1 or 0.", "gpu,UUID,reason", "",
     "gpu_metrics, gt/gt*/throttle_reason_*, tile*/gt*/freq0/throttle"},
    {"vitald_gpu_clients", gauge, "Programs that have the GPU open, as far as they may be looked at.", kGpuLabels, "",
     kFdinfo},
    {"vitald_gpu_engine_busy_seconds_total", counter,
     "How long each engine worked for programs that could be looked at, since the collector began.", "gpu,UUID,engine",
     "seconds", kFdinfo},
    {"vitald_owner_gpu_memory_bytes", gauge,
     "Memory of the GPU that the owner's processes hold; of the machine's where the GPU has none of its own.",
     "gpu,UUID,owner_kind,owner,namespace,pod,container,guest", "bytes", kFdinfo},
    {"vitald_owner_gpu_engine_seconds_total", counter, "How long engines of the GPU worked for the owner's processes.",
     "gpu,UUID,engine,owner_kind,owner,namespace,pod,container,guest", "seconds", kFdinfo},
};
constexpr auto& kGpus = row(kOwn, "vitald_drm_gpus");
constexpr auto& kInfo = row(kOwn, "vitald_drm_gpu_info");
constexpr auto& kUnreadable = row(kOwn, "vitald_drm_unreadable_processes");
constexpr auto& kPower = row(kOwn, "vitald_gpu_power_watts");
constexpr auto& kTemperature = row(kOwn, "vitald_gpu_temperature_celsius");
constexpr auto& kBusy = row(kOwn, "vitald_gpu_busy_ratio");
constexpr auto& kMemory = row(kOwn, "vitald_gpu_memory_bytes");
constexpr auto& kMemoryUsed = row(kOwn, "vitald_gpu_memory_used_bytes");
constexpr auto& kThrottled = row(kOwn, "vitald_gpu_throttled");
constexpr auto& kClients = row(kOwn, "vitald_gpu_clients");
constexpr auto& kEngineBusy = row(kOwn, "vitald_gpu_engine_busy_seconds_total");
constexpr auto& kOwnerMemory = row(kOwn, "vitald_owner_gpu_memory_bytes");
constexpr auto& kOwnerEngine = row(kOwn, "vitald_owner_gpu_engine_seconds_total");
constexpr auto kMetrics = families_of(kOwn, kGpuEnergyMetrics);

// Finding which processes have a GPU open looks at every open file of the machine.
constexpr std::int64_t kScanEveryNs = 10'000'000'000;
// A client that is not found (its process gave the file to another) is found again with what it has counted.
constexpr std::int64_t kRememberNs = 120'000'000'000;
constexpr std::array<std::string_view, 3> kDrivers = {"amdgpu", "i915", "xe"};
constexpr std::string_view kThrottles[] = {"pl1",     "pl2",  "pl4",           "thermal",
                                           "prochot", "ratl", "vr_thermalert", "vr_tdc"};
constexpr std::string_view kMemories[] = {"vram", "gtt"};
constexpr int kMostTemperatures = 8;
constexpr std::size_t kOfGpuMetrics = 2;  // the source of energy behind Chip::energies

// What hwmon has of the GPU, in the folder of its one chip.
struct Chip {
  explicit Chip(const std::string& path) {
    for (const auto* file : {"power1_average", "power1_input", "power2_average", "power2_input"})
      powers.emplace_back(path + "/" + file);
    for (const auto* file : {"energy1_input", "energy2_input"}) energies.emplace_back(path + "/" + file);
    for (int i = 1; i <= kMostTemperatures; ++i)
      temperatures.emplace_back(Attribute(fmt::format("{}/temp{}_label", path, i)),
                                Attribute(fmt::format("{}/temp{}_input", path, i)));
  }
  std::vector<Attribute> powers, energies;
  std::vector<std::pair<Attribute, Attribute>> temperatures;
};

// One of Intel's graphics engines with why its clock is held down.
struct Gt {
  explicit Gt(const std::string& path) {
    for (const auto reason : kThrottles) {
      reasons.emplace_back(fmt::format("{}/throttle_reason_{}", path, reason));
      reasons_of_xe.emplace_back(fmt::format("{}/freq0/throttle/reason_{}", path, reason));
    }
  }
  std::vector<Attribute> reasons, reasons_of_xe;
};

// A part of a card that xe drives, with engines of its own: tile0, and of some cards tile1.
struct Tile {
  explicit Tile(const std::string& path) : gts(path, "gt") {}
  KernelItems<Gt> gts;
};

// "card0", a connector of it ("card0-DP-1"), or "renderD128".
struct Node {
  explicit Node(const std::string& path)
      : uevent(path + "/device/uevent"),
        unique_id(path + "/device/unique_id"),
        busy(path + "/device/gpu_busy_percent"),
        number(path + "/dev"),
        metrics(path + "/device/gpu_metrics"),
        power(path + "/device"),
        chips(path + "/device/hwmon"),
        gts(path + "/gt", "gt"),
        tiles(path + "/device", "tile") {
    for (const auto kind : kMemories) {
      memory.emplace_back(fmt::format("{}/device/mem_info_{}_total", path, kind));
      memory_used.emplace_back(fmt::format("{}/device/mem_info_{}_used", path, kind));
    }
  }
  Attribute uevent, unique_id, busy, number;
  KernelFile metrics;
  PowerState power;
  KernelItems<Chip> chips;
  KernelItems<Gt> gts;
  KernelItems<Tile> tiles;
  std::vector<Attribute> memory, memory_used;
};

struct Uevent {
  std::string driver, slot;
};
Uevent uevent_of(Attribute& file) {
  Uevent out;
  const auto text = file.text();
  std::string_view rest = text.value_or("");
  while (!rest.empty()) {
    auto line = take_line(rest);
    if (take_prefix(line, "DRIVER=")) out.driver = trim(line);
    else if (take_prefix(line, "PCI_SLOT_NAME=")) out.slot = trim(line);
  }
  return out;
}

class DrmGpus final : public Collector {
 public:
  explicit DrmGpus(const Host& host)
      : host_(host), owners_(host.shared<OwnerTable>()), nodes_(host.sysfs("class/drm")) {}

  // Whether there is one.
  bool look() {
    if (!nodes_.refresh()) return false;
    return std::ranges::any_of(nodes_.items(),
                               [](auto& node) { return is_card(node.name) && known_driver(node.value); });
  }

  Result<> collect(BatchWriter& out) override {
    if (auto listed = nodes_.refresh(); !listed && listed.error().kind != Errc::gone) return listed;
    owners_.cycle(host_.clock().boot_ns());
    now_ns_ = host_.clock().boot_ns();
    struct Seen {
      std::string name;
      Gpu* gpu;
    };
    std::vector<Seen> gpus;
    std::size_t asleep = 0;
    by_node_.clear();
    by_number_.clear();
    for (auto& [name, node] : nodes_.items()) {
      if (!is_card(name) || !known_driver(node)) continue;
      const auto about = uevent_of(node.uevent);
      const auto key = about.slot.empty() ? name : about.slot;
      auto& gpu = gpus_.try_emplace(key, owners_).first->second;
      gpu.asleep = node.power.asleep();
      gpu.amd = about.driver == "amdgpu";
      asleep += gpu.asleep ? 1 : 0;
      // What it is was read while it was awake.
      if (!gpu.asleep && gpu.uuid.empty()) gpu.uuid = node.unique_id.text().value_or("");
      gpu.shown_uuid = gpu.uuid.empty() ? key : gpu.uuid;
      out.set(kInfo, 1, name, gpu.shown_uuid, about.driver, about.slot);
      if (gpu.asleep) gpu.energy_ns = gpu.stepped_ns = 0, gpu.busy.reset();
      else sysfs(name, gpu, node, out);
      gpus.push_back({name, &gpu});
      has_node(name, node, gpu);
    }
    // The files that programs open are mostly those for rendering, of the same device.
    for (auto& [name, node] : nodes_.items()) {
      if (!name.starts_with("renderD")) continue;
      const auto about = uevent_of(node.uevent);
      if (const auto at = gpus_.find(about.slot); at != gpus_.end()) has_node(name, node, at->second);
    }
    rocm();
    clients();
    for (const auto& [name, gpu] : gpus) emit(name, *gpu, out);
    out.set(kGpus, static_cast<double>(gpus.size()), "all");
    out.set(kGpus, static_cast<double>(asleep), "asleep");
    out.set(kUnreadable, static_cast<double>(unreadable_));
    std::erase_if(gpus_, [&](const auto& known) {
      return std::ranges::none_of(gpus, [&](const Seen& seen) { return seen.gpu == &known.second; });
    });
    return {};
  }

  [[nodiscard]] std::string status() const override {
    auto text = fmt::format("{} GPUs", gpus_.size());
    if (unreadable_ != 0)
      text += fmt::format(
          ", open files of {} processes may not be looked at (CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH): not by owner",
          unreadable_);
    const auto computing = std::ranges::count_if(gpus_, [](const auto& g) { return g.second.computes; });
    if (computing != 0)
      text += fmt::format(", ROCm's processes compute on {} of them: their energy is nobody's", computing);
    return text;
  }

 private:
  // Of one client's engine, as it was last read.
  struct Counted {
    std::uint64_t busy_ns = 0, cycles = 0, total_cycles = 0;
  };
  struct Gpu {
    explicit Gpu(OwnerTable& owners) : energy(owners) {}
    std::string uuid, shown_uuid;
    bool asleep = false, amd = false;
    bool computes = false, computed = false;  // ROCm does on it; it did when it was looked at before
    std::optional<double> busy, was_busy;     // as it says itself, 0 to 1, now and in the run before
    double gfx_s = 0;                         // of clients, in this run, on the engines that it says that of
    std::int64_t stepped_ns = 0;              // when its energy was split last
    std::optional<double> joules;             // of its counter, in this run
    std::optional<std::size_t>
        energy_source;  // which counter that is, from the first reading on: others began elsewhere
    AmdEnergy amd_energy;
    std::int64_t energy_ns = 0;  // when amd_energy was told, if it was awake since
    bool has_counter = false;    // it had one
    GpuEnergy energy;
    struct Client {
      std::map<std::string, Counted, std::less<>> engines;
      std::int64_t seen_ns = 0;
    };
    std::map<std::uint64_t, Client> clients;
    std::map<std::string, double, std::less<>> engine_s;
    std::map<OwnerId, std::map<std::string, double, std::less<>>> owner_s;
    std::map<OwnerId, double> owner_bytes;  // in this run
    std::vector<GpuEnergy::Used> used;
    std::int64_t read_ns = 0;  // when its clients were last read
  };
  struct OpenFile {
    std::string pid, fd, node;
    std::string number;  // of the device, "226:128"; empty: not known
  };

  static bool is_card(std::string_view name) { return take_prefix(name, "card") && parse_u64(name).has_value(); }
  static bool known_driver(Node& node) {
    return std::ranges::find(kDrivers, uevent_of(node.uevent).driver) != kDrivers.end();
  }

  void has_node(const std::string& name, Node& node, Gpu& gpu) {
    by_node_.emplace(name, &gpu);
    if (const auto number = node.number.text(); number && !number->empty()) by_number_.emplace(trim(*number), &gpu);
  }

  void sysfs(const std::string& name, Gpu& gpu, Node& node, BatchWriter& out) {
    const auto& uuid = gpu.shown_uuid;
    gpu.joules.reset();
    // None is no error: an older kernel, or a GPU in the processor.
    [[maybe_unused]] const auto listed = node.chips.refresh();
    for (auto& chip : node.chips.items()) {
      if (!chip.name.starts_with("hwmon")) continue;
      for (auto& file : chip.value.powers)
        if (const auto microwatts = number_of(file, out);
            microwatts && !is_no_reading(Quantity::other, *microwatts, 1, true)) {
          out.set(kPower, *microwatts / 1e6, name, uuid);
          break;
        }
      for (std::size_t i = 0; i < chip.value.energies.size(); ++i) {
        if (gpu.joules || gpu.energy_source.value_or(i) != i) continue;
        if (const auto microjoules = number_of(chip.value.energies[i], out);
            microjoules && !is_no_reading(Quantity::other, *microjoules, 1, true)) {
          gpu.joules = *microjoules / 1e6;
          gpu.energy_source = i;
        }
      }
      for (std::size_t i = 0; i < chip.value.temperatures.size(); ++i) {
        auto& [label, input] = chip.value.temperatures[i];
        const auto millidegrees = number_of(input, out);
        if (!millidegrees || is_no_reading(Quantity::celsius, *millidegrees / 1000, 1000, false)) continue;
        const std::string sensor(label.text().value_or(""));
        out.set(kTemperature, *millidegrees / 1000, name, uuid, sensor.empty() ? fmt::format("temp{}", i + 1) : sensor);
      }
    }
    gpu.was_busy = std::exchange(gpu.busy, std::nullopt);
    if (const auto percent = number_of(node.busy, out); percent && *percent <= 100) {
      gpu.busy = *percent / 100;
      out.set(kBusy, *gpu.busy, name, uuid);
    }
    for (std::size_t i = 0; i < std::size(kMemories); ++i) {
      if (const auto bytes = number_of(node.memory[i], out)) out.set(kMemory, *bytes, name, uuid, kMemories[i]);
      if (const auto bytes = number_of(node.memory_used[i], out))
        out.set(kMemoryUsed, *bytes, name, uuid, kMemories[i]);
    }
    if (gpu.amd) {
      if (const auto bytes = node.metrics.read()) {
        const auto told = parse_amd_metrics(*bytes);
        if (told.throttle)
          for (const auto& kind : kAmdThrottles)
            out.set(kThrottled, (*told.throttle & kind.bits) != 0 ? 1 : 0, name, uuid, kind.reason);
        if (told.energy && gpu.energy_source.value_or(kOfGpuMetrics) == kOfGpuMetrics) {
          const auto elapsed_s = static_cast<double>(now_ns_ - gpu.energy_ns) / 1e9;
          gpu.joules =
              gpu.amd_energy.joules(*told.energy, gpu.energy_ns != 0 ? std::optional(elapsed_s) : std::nullopt);
          gpu.energy_source = kOfGpuMetrics;
          gpu.energy_ns = now_ns_;
        }
      }
    } else {
      throttles_of_intel(name, uuid, node, out);
    }
    gpu.has_counter |= gpu.joules.has_value();
  }

  // Of all its engines together.
  static void throttles_of_intel(const std::string& name, const std::string& uuid, Node& node, BatchWriter& out) {
    std::array<std::optional<bool>, std::size(kThrottles)> held;
    const auto look = [&held, &out](Attribute& file, std::size_t i) {
      if (const auto n = number_of(file, out)) held[i] = held[i].value_or(false) || *n != 0;
    };
    const auto look_at = [&look](KernelItems<Gt>& gts) {
      if (!gts.refresh()) return;
      for (auto& gt : gts.items())
        for (std::size_t i = 0; i < std::size(kThrottles); ++i) {
          look(gt.value.reasons[i], i);
          look(gt.value.reasons_of_xe[i], i);
        }
    };
    look_at(node.gts);
    if (node.tiles.refresh())
      for (auto& tile : node.tiles.items()) look_at(tile.value.gts);
    for (std::size_t i = 0; i < held.size(); ++i)
      if (held[i]) out.set(kThrottled, *held[i] ? 1 : 0, name, uuid, kThrottles[i]);
  }

  // Which processes have a GPU open: every few seconds all are looked at.
  void scan() {
    if (scanned_ns_ != 0 && now_ns_ - scanned_ns_ < kScanEveryNs) return;
    scanned_ns_ = now_ns_;
    files_.clear();
    unreadable_ = 0;
    for (const auto& pid : list_directory(host_.procfs("")).value_or(std::vector<std::string>{})) {
      if (!parse_u64(pid)) continue;
      const auto folder = host_.procfs(pid + "/fd");
      const auto fds = list_directory(folder);
      if (!fds) {
        if (fds.error().kind == Errc::denied) ++unreadable_;
        continue;
      }
      for (const auto& fd : *fds) {
        const auto path = folder + "/" + fd;
        char target[64];  // a longer one is no GPU's
        const auto size = ::readlink(path.c_str(), target, sizeof target);
        if (size < 0 && (errno == EACCES || errno == EPERM)) {
          ++unreadable_;  // the names of its files are told to its user, but not what they are
          break;
        }
        std::string_view node(target, static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
        if (!take_prefix(node, "/dev/dri/")) continue;
        struct stat status {};
        const bool known = ::stat(path.c_str(), &status) == 0 && S_ISCHR(status.st_mode);
        files_.push_back({pid, fd, std::string(node),
                          known ? fmt::format("{}:{}", major(status.st_rdev), minor(status.st_rdev)) : ""});
      }
    }
    // Of several processes that hold one client the youngest uses it: logind and seatd open what a compositor is given,
    // and keep it open.
    std::ranges::stable_sort(files_, std::ranges::greater{},
                             [](const OpenFile& f) { return parse_u64(f.pid).value_or(0); });
  }

  // Whose the file is, as far as that is known without reading of it; false: no GPU's that we know.
  bool maybe(const OpenFile& file, Gpu*& gpu) const {
    gpu = nullptr;
    if (!file.number.empty() && !by_number_.empty()) {
      const auto at = by_number_.find(file.number);
      if (at == by_number_.end()) return false;
      gpu = at->second;
    } else if (const auto at = by_node_.find(file.node); at != by_node_.end()) {
      gpu = at->second;
    }
    return true;
  }

  void clients() {
    for (auto& [key, gpu] : gpus_) {
      gpu.owner_bytes.clear();
      gpu.used.clear();
      gpu.gfx_s = 0;
    }
    if (std::ranges::all_of(gpus_, [](const auto& g) { return g.second.asleep; })) return;
    scan();
    std::set<std::pair<const Gpu*, std::uint64_t>> counted;
    std::map<std::pair<Gpu*, OwnerId>, double> used;
    for (const auto& file : files_) {
      Gpu* found = nullptr;
      if (!maybe(file, found) || (found && found->asleep)) continue;
      const auto text =
          read_kernel_file(host_.procfs(fmt::format("{}/fdinfo/{}", file.pid, file.fd)), KernelFile::Read::records);
      const auto client = text ? parse_drm_client(*text) : std::nullopt;
      if (!client) continue;
      // A container may call the one that it has been given by another's name.
      if (!client->pdev.empty()) {
        const auto at = gpus_.find(client->pdev);
        found = at != gpus_.end() ? &at->second : nullptr;
      }
      if (!found || found->asleep) continue;
      auto& gpu = *found;
      if (!counted.insert({&gpu, client->id}).second) continue;
      const auto owner = owners_.of_pid(parse_int<pid_t>(file.pid).value_or(0));
      gpu.owner_bytes[owner] += static_cast<double>(client->memory_bytes());
      count(gpu, *client, owner, used[{&gpu, owner}]);
    }
    for (const auto& [who, seconds] : used) who.first->used.push_back({who.second, seconds});
    for (auto& [key, gpu] : gpus_) {
      if (gpu.asleep) continue;
      gpu.read_ns = now_ns_;
      std::erase_if(gpu.clients, [this](const auto& c) { return now_ns_ - c.second.seen_ns > kRememberNs; });
    }
  }

  // What the engines did since it was last read. Of a client that is new everything was since then, unless it was there
  // before us.
  void count(Gpu& gpu, const DrmClient& client, OwnerId owner, double& used_s) {
    const bool first = gpu.read_ns == 0;
    const auto at = gpu.clients.try_emplace(client.id).first;
    const auto seen_ns = std::exchange(at->second.seen_ns, now_ns_);
    const double elapsed_s = first || seen_ns == 0 ? 0 : static_cast<double>(now_ns_ - seen_ns) / 1e9;
    for (const auto& [engine, now] : client.engines) {
      const auto known = at->second.engines.try_emplace(engine);
      auto& before = known.first->second;
      double seconds = 0;
      if (now.busy_ns && *now.busy_ns > before.busy_ns) {
        seconds = static_cast<double>(*now.busy_ns - before.busy_ns) / 1e9;
        before.busy_ns = *now.busy_ns;  // one that fell comes up again: the larger one stands until then
      } else if (now.cycles && now.total_cycles) {
        const bool grown = *now.cycles >= before.cycles && *now.total_cycles > before.total_cycles;
        if (grown && !known.second)
          seconds = elapsed_s * static_cast<double>(*now.cycles - before.cycles) /
                    static_cast<double>(*now.total_cycles - before.total_cycles);
        before.cycles = *now.cycles;
        before.total_cycles = *now.total_cycles;
      }
      if (first) seconds = 0;
      gpu.engine_s[engine] += seconds;
      gpu.owner_s[owner][engine] += seconds;
      used_s += seconds;
      if (engine == "gfx" || engine == "compute") gpu.gfx_s += seconds;
    }
  }

  // What ROCm computes goes through /dev/kfd, which no engine of a client counts, by queues of each of its processes
  // (/sys/class/kfd/kfd/proc/PID/queues/N/gpuid, since Linux 5.9). A queue that has gone was there until now.
  void rocm() {
    for (auto& [key, gpu] : gpus_) gpu.computed = std::exchange(gpu.computes, false);
    const auto folder = host_.sysfs("class/kfd/kfd/proc");
    for (const auto& pid : list_directory(folder).value_or(std::vector<std::string>{})) {
      const auto queues = list_directory(fmt::format("{}/{}/queues", folder, pid));
      if (!queues && !list_directory(fmt::format("{}/{}", folder, pid))) continue;  // it has ended
      bool known = queues.has_value();
      for (const auto& queue : queues.value_or(std::vector<std::string>{})) {
        const auto id = read_kernel_file(fmt::format("{}/{}/queues/{}/gpuid", folder, pid, queue));
        if (!id && id.error().kind == Errc::gone) continue;
        auto* gpu = id ? computing_gpu(std::string(trim(*id))) : nullptr;
        if (gpu) gpu->computes = true;
        else known = false;
      }
      if (known) continue;
      for (auto& [key, gpu] : gpus_) gpu.computes = gpu.amd;
    }
  }

  // By KFD's own number of it. Its topology may be closed to a unit that may not open the device.
  Gpu* computing_gpu(const std::string& id) {
    auto at = render_nodes_.find(id);
    if (at == render_nodes_.end()) {
      const auto folder = host_.sysfs("class/kfd/kfd/topology/nodes");
      for (const auto& node : list_directory(folder).value_or(std::vector<std::string>{})) {
        const auto read = read_kernel_file(fmt::format("{}/{}/gpu_id", folder, node));
        if (!read) continue;
        const std::string number(trim(*read));  // the next reading takes its place
        const auto text = read_kernel_file(fmt::format("{}/{}/properties", folder, node));
        if (!text) continue;
        std::string_view rest = *text;
        while (!rest.empty()) {
          auto line = take_line(rest);
          if (take_word(line) == "drm_render_minor") render_nodes_[number] = fmt::format("renderD{}", take_word(line));
        }
      }
      at = render_nodes_.find(id);
      if (at == render_nodes_.end()) return nullptr;
    }
    const auto gpu = by_node_.find(at->second);
    return gpu != by_node_.end() ? gpu->second : nullptr;
  }

  // For how long those kept it busy whose files may not be looked at. Nothing: that is not known.
  [[nodiscard]] std::optional<double> hidden(const Gpu& gpu) const {
    if (unreadable_ == 0) return 0;
    if (!gpu.busy || !gpu.was_busy || gpu.stepped_ns == 0) return std::nullopt;
    const double elapsed_s = static_cast<double>(now_ns_ - gpu.stepped_ns) / 1e9;
    return std::max(0.0, (*gpu.busy + *gpu.was_busy) / 2 * elapsed_s - gpu.gfx_s);
  }

  void emit(const std::string& name, Gpu& gpu, BatchWriter& out) {
    const auto& uuid = gpu.shown_uuid;
    if (!gpu.asleep) {
      const auto open =
          std::ranges::count_if(gpu.clients, [this](const auto& c) { return c.second.seen_ns == now_ns_; });
      out.set(kClients, static_cast<double>(open), name, uuid);
      // What goes past the engines nobody knows, and what processes use that may not be looked at only where the GPU
      // says how busy it was with all of them.
      const auto hidden_s = hidden(gpu);
      const auto used = hidden_s && !gpu.computes && !gpu.computed ? std::optional(gpu.used) : std::nullopt;
      if (gpu.has_counter) gpu.energy.step(now_ns_, gpu.joules, used, hidden_s.value_or(0));
      gpu.stepped_ns = now_ns_;
    }
    for (const auto& [engine, seconds] : gpu.engine_s) out.set(kEngineBusy, seconds, name, uuid, engine);
    std::erase_if(gpu.owner_s, [this](const auto& o) { return owners_.at(o.first)->id != o.first; });
    std::vector<Label> labels;
    const auto with_owner = [&](OwnerId id) {
      const auto owner = owners_.at(id);
      labels.insert(labels.end(), owner->labels.begin(), owner->labels.end());
      return owner;
    };
    for (const auto& [id, bytes] : gpu.owner_bytes) {
      labels.assign({{"gpu", name}, {"UUID", uuid}});
      const auto held = with_owner(id);
      out.set_labels(kOwnerMemory, bytes, labels);
    }
    for (const auto& [id, engines] : gpu.owner_s)
      for (const auto& [engine, seconds] : engines) {
        labels.assign({{"gpu", name}, {"UUID", uuid}, {"engine", engine}});
        const auto held = with_owner(id);
        out.set_labels(kOwnerEngine, seconds, labels);
      }
    gpu.energy.emit(out, name, uuid, "engine_time");
  }

  const Host& host_;
  OwnerTable& owners_;
  KernelItems<Node> nodes_;
  std::map<std::string, Gpu, std::less<>> gpus_;  // by PCI address, else by name
  std::map<std::string, Gpu*, std::less<>> by_node_, by_number_;
  std::vector<OpenFile> files_;
  std::size_t unreadable_ = 0;
  std::map<std::string, std::string, std::less<>> render_nodes_;  // by KFD's number of the GPU
  std::int64_t scanned_ns_ = 0, now_ns_ = 0;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) {
  auto gpus = std::make_unique<DrmGpus>(host);
  if (!gpus->look()) return fail(Errc::absent, host.sysfs("class/drm") + ": no card of amdgpu, i915 or xe");
  return gpus;
}

}  // namespace

extern const CollectorInfo collector_drm_gpus;
const CollectorInfo collector_drm_gpus{kMetrics, {}, make};

}  // namespace vitald
