// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <ostream>
#include <span>
#include <utility>

#include "agent/agent.h"
#include "agent/pipeline/pipeline.h"
#include "agent/report.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/log_output.h"
#include "core/os/kernel_file.h"
#include "core/os/privileges.h"
#include "core/os/root_path.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

enum class Mark : std::uint8_t { good, note, bad };

class Findings {
 public:
  void say(Mark mark, std::string_view what, std::string_view text) {
    static constexpr std::string_view kMarks[] = {"ok  ", "note", "FIX "};
    out_ += fmt::format("  {}  {:<14} {}\n", kMarks[static_cast<std::size_t>(mark)], what, text);
  }
  std::string take() { return std::exchange(out_, {}); }

 private:
  std::string out_;
};

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }
bool readable(const std::string& path) { return access(path.c_str(), R_OK) == 0; }

// "Seccomp:\t2"
void seccomp(Findings& f) {
  const auto status = read_kernel_file("/proc/self/status");
  if (!status) return;
  for (std::string_view rest = *status; !rest.empty();) {
    auto line = take_line(rest);
    if (take_prefix(line, "Seccomp:") && trim(line) != "0")
      f.say(Mark::note, "seccomp",
            "a filter is in force; a probe that is refused in spite of its capabilities needs "
            "bpf and perf_event_open in it");
  }
}

void privileges(Findings& f) {
  for (const auto& p : vitald::privileges()) {
    // CAP_SYS_ADMIN stands in for both before Linux 5.8.
    const bool yes = has_capability(p.capability) || (p.capability >= CAP_PERFMON && has_capability(CAP_SYS_ADMIN));
    if (yes) {
      f.say(Mark::good, p.name, p.used);
    } else if (p.wanted) {
      f.say(Mark::bad, p.name,
            fmt::format("missing, for {}. In the unit: AmbientCapabilities={}; in a DaemonSet, with our image: "
                        "securityContext: {{allowPrivilegeEscalation: true, capabilities: {{add: [{}]}}}}",
                        p.used, p.name, p.name.substr(4)));
    }
  }
  seccomp(f);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  f.say(limit.rlim_max >= 4096 ? Mark::good : Mark::bad, "open files",
        fmt::format("hard limit {}{}", limit.rlim_max,
                    limit.rlim_max >= 4096 ? "" : ": raise it to 4096 or more (LimitNOFILE=)"));
}

void kernel(Findings& f, const Host& host) {
  const bool btf = exists("/sys/kernel/btf/vmlinux");
  f.say(btf ? Mark::good : Mark::bad, "BTF",
        btf ? "/sys/kernel/btf/vmlinux"
            : "no /sys/kernel/btf/vmlinux: probes need a kernel with CONFIG_DEBUG_INFO_BTF=y");
  const bool psi = exists(host.procfs("pressure"));
  f.say(psi ? Mark::good : Mark::note, "PSI",
        psi ? "pressure is kept" : "no /proc/pressure: CONFIG_PSI=y, maybe psi=1 on the kernel's command line");
  struct statfs fs {};
  const bool v2 = statfs(host.sysfs("fs/cgroup").c_str(), &fs) == 0 && fs.f_type == 0x63677270;  // CGROUP2_SUPER_MAGIC
  f.say(v2 ? Mark::good : Mark::note, "cgroups",
        v2 ? "version 2"
        : exists(host.sysfs("fs/cgroup/unified"))
            ? "hybrid; per-cgroup numbers come from the unified tree"
            : "version 1: boot with systemd.unified_cgroup_hierarchy=1 for per-cgroup numbers");
}

void hardware(Findings& f, const Host& host) {
  const auto chips = list_directory(host.sysfs("class/hwmon"));
  const auto n = chips ? chips->size() : 0;
  f.say(n ? Mark::good : Mark::note, "hwmon",
        n ? fmt::format("{} chips", n) : "no chip: on bare metal run sensors-detect; a virtual machine has none");
  const auto zone = host.sysfs("class/powercap/intel-rapl:0/energy_uj");
  if (!exists(zone)) f.say(Mark::note, "RAPL", "no energy counters: not this CPU, or a virtual machine");
  else if (readable(zone)) f.say(Mark::good, "RAPL", "readable");
  else
    f.say(Mark::bad, "RAPL",
          fmt::format("{} is for root only: CAP_DAC_READ_SEARCH (above), or chmod a+r by a udev rule", zone));
}

void view(Findings& f, const Host& host) {
  for (const auto& row : view_rows(host))
    f.say(row.seen ? Mark::good : Mark::bad, fmt::format("host {}", row.of), row.text);
}

void guests(Findings& f, const Host& host) {
  const auto& root = host.roots().root;
  if (!exists(path_below_root(root, "/dev/kvm")))
    f.say(Mark::note, "KVM", "no /dev/kvm: no hardware virtualisation here");
  else f.say(Mark::good, "KVM", "/dev/kvm");
  for (const auto* name : {"/run/libvirt/virtqemud-sock-ro", "/run/libvirt/libvirt-sock-ro"}) {
    const auto socket = path_below_root(root, name);
    if (!exists(socket)) continue;
    const bool may = access(socket.c_str(), R_OK | W_OK) == 0;
    return f.say(may ? Mark::good : Mark::bad, "libvirt",
                 may ? socket : fmt::format("{} does not let us in: add our user to group libvirt", socket));
  }
  f.say(Mark::note, "libvirt",
        fmt::format("no socket below {}: no libvirtd here", path_below_root(root, "/run/libvirt")));
}

}  // namespace

std::string doctor(const Host& host, const std::vector<CollectorStatus>& collectors, const StateCheck& state) {
  Findings f;
  std::string out = fmt::format("vitald {}\nThis machine\n", VITALD_VERSION);
  view(f, host);
  privileges(f);
  kernel(f, host);
  hardware(f, host);
  guests(f, host);
  f.say(state.good ? Mark::good : Mark::bad, "state", state.text);
  out += f.take();
  for (const bool probes : {false, true}) {
    out += probes ? "Probes\n" : "Collectors\n";
    for (const auto& c : collectors) {
      using enum CollectorStatus::State;
      if (c.probe() != probes) continue;
      const auto mark = c.state == on ? Mark::good : c.state == failed ? Mark::bad : Mark::note;
      f.say(mark, c.name, c.state == on ? c.text : fmt::format("{}{}", c.state == off ? "off: " : "", c.text));
    }
    out += f.take();
  }
  return out;
}

// Each is asked, and told nothing.
std::string receivers_text(std::span<const std::shared_ptr<ReceiverSettings>> receivers) {
  if (receivers.empty()) return {};
  Findings f;
  for (const auto& r : receivers) {
    constexpr std::int64_t kPatienceNs = 5'000'000'000;
    const auto found = r->reach({SystemClock::read(CLOCK_BOOTTIME) + std::min(kPatienceNs, r->timeout_ns), -1});
    f.say(found ? Mark::good : Mark::bad, r->name,
          fmt::format("{}: {}", r->text(), found ? *found : found.error().text));
  }
  return "Receivers\n" + f.take();
}

int run_doctor(const Config& config, std::ostream& out) {
  const auto& o = config.options;
  const Host host({std::string(o.text("path.procfs")), std::string(o.text("path.sysfs")),
                   std::string(o.text("path.rootfs")), std::string(o.text("path.udev.data"))});
  SnapshotHub hub;
  const auto make_worker = [&](std::string_view name) {
    WorkerSettings settings;
    settings.collector = name;
    settings.arguments = config.command_line.arguments;
    return std::make_unique<WorkerClient>(std::move(settings));
  };
  Pipeline pipeline(host, collector_list(), make_worker, hub);
  PipelineConfig start;
  start.options = std::make_shared<const Options>(o);
  if (const auto started = pipeline.start(std::move(start), 3'000'000'000); !started) {
    log::say(fmt::format("vitald: error: {}\n", started.error().text));
    return 1;
  }
  pipeline.wait_for_configurations(1, 20'000'000'000);  // one that hangs is told of as such
  const auto rows = pipeline.status();
  std::vector<std::string> problems;  // they are in the text as well
  out << doctor(host, rows ? *rows : std::vector<CollectorStatus>{}, check_state(o, problems))
      << receivers_text(config.receivers) << std::flush;
  if (pipeline.stop(1'000'000'000)) return 0;
  log::flush(kLastWordsNs);
  _exit(0);
}

}  // namespace vitald
