// SPDX-License-Identifier: Apache-2.0
// `vitald doctor`: looks at this machine, collects once with the configuration, and says what does not work and what
// to change.
#include "agent/doctor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/klog.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <ostream>
#include <span>
#include <system_error>
#include <utility>

#include "agent/agent.h"
#include "agent/config/flags.h"
#include "agent/os/service.h"
#include "agent/pipeline/pipeline.h"
#include "agent/view.h"
#include "agent/worker_settings.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/log_output.h"
#include "core/os/descriptors.h"
#include "core/os/fd.h"
#include "core/os/kernel_file.h"
#include "core/os/privileges.h"
#include "core/os/root_path.h"
#include "core/text/scan.h"
#include "rules/keep.h"
#include "sensors/owner/hierarchy.h"

namespace vitald {
namespace {

enum class Mark : std::uint8_t { good, note, bad };

class Findings {
 public:
  void say(Mark mark, std::string_view what, std::string_view text) {
    static constexpr std::string_view kMarks[] = {"ok  ", "note", "FIX "};
    // A name alone has nothing to stand in a column before.
    out_ += text.empty() ? fmt::format("  {}  {}\n", kMarks[static_cast<std::size_t>(mark)], what)
                         : fmt::format("  {}  {:<14} {}\n", kMarks[static_cast<std::size_t>(mark)], what, text);
    good_ = good_ && mark != Mark::bad;
  }
  void head(std::string_view title) { out_ += fmt::format("{}\n", title); }
  Diagnosis take() { return {std::move(out_), good_}; }

 private:
  std::string out_;
  bool good_ = true;
};

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }
// access() asks for the real user, without the capabilities that a unit gave us.
bool may(const std::string& path, int mode) { return faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS) == 0; }

bool asked_for(const DoctorInput& in, std::string_view collector) {
  const auto row = std::ranges::find(in.collectors, collector, &CollectorStatus::name);
  return row != in.collectors.end() && row->state != CollectorStatus::State::off;
}

bool is_on(const DoctorInput& in, std::string_view collector) {
  const auto row = std::ranges::find(in.collectors, collector, &CollectorStatus::name);
  return row != in.collectors.end() && row->state == CollectorStatus::State::on;
}

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

void privileges(Findings& f, const DoctorInput& in, bool probes) {
  for (const auto& p : vitald::privileges()) {
    // CAP_SYS_ADMIN stands in for both before Linux 5.8.
    const bool yes =
        may_give_capability(p.capability) || (p.capability >= CAP_PERFMON && has_capability(CAP_SYS_ADMIN));
    if (yes) {
      f.say(Mark::good, p.name, p.used);
    } else if (p.wanted) {
      const bool needed = p.capability == CAP_BPF       ? probes
                          : p.capability == CAP_PERFMON ? probes || asked_for(in, "perf")
                                                        : true;
      f.say(needed ? Mark::bad : Mark::note, p.name,
            needed
                ? fmt::format("missing, for {}. In the unit: AmbientCapabilities={}; in a DaemonSet, with our image: "
                              "securityContext: {{allowPrivilegeEscalation: true, capabilities: {{add: [{}]}}}}",
                              p.used, p.name, p.name.substr(4))
                : fmt::format("missing; nothing that is on needs it ({})", p.used));
    } else if (p.capability == CAP_SYS_PTRACE && is_on(in, "drm_gpus")) {
      f.say(
          Mark::note, p.name,
          "missing: what processes of others use of GPUs, and whose their energy is, is not known; docs/guests.md has "
          "the drop-in");
    }
  }
  seccomp(f);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const bool low = limit.rlim_max < 4096;
  f.say(descriptors_are_short() ? Mark::bad
        : low                   ? Mark::note
                                : Mark::good,
        "open files",
        descriptors_are_short() ? fmt::format("hard limit {}: {}", limit.rlim_max, kDescriptorsAreShort)
        : low ? fmt::format("hard limit {}: enough today; 4096 is safe on any machine (LimitNOFILE=)", limit.rlim_max)
              : fmt::format("hard limit {}", limit.rlim_max));
}

// Where owners are looked up: what the probes do, and what the kernel of this machine has.
void cgroups(Findings& f, const Host& host) {
  struct statfs fs {};
  const bool v2 = statfs(host.sysfs("fs/cgroup").c_str(), &fs) == 0 && fs.f_type == 0x63677270;  // CGROUP2_SUPER_MAGIC
  const auto cpu = cpu_hierarchy(host), memory = memory_hierarchy(host);
  const bool v1 = cpu.controller != V1Hierarchy::Controller::none || memory.controller != V1Hierarchy::Controller::none;
  if (v2 && !v1) f.say(Mark::good, "cgroups", "version 2");
  else if (v1)
    f.say(Mark::good, "cgroups",
          fmt::format("{}; owners of CPU time are looked up on {}, of memory on {}",
                      v2 || exists(host.sysfs("fs/cgroup/unified")) ? "hybrid" : "version 1", describe(cpu),
                      describe(memory)));
  else
    f.say(Mark::note, "cgroups",
          fmt::format("{} is not a cgroup file system: owners are found by id only while the kernel says their path",
                      host.sysfs("fs/cgroup")));
}

void kernel(Findings& f, const DoctorInput& in, bool probes) {
  const auto& host = in.host;
  const bool btf = exists("/sys/kernel/btf/vmlinux");
  f.say(btf      ? Mark::good
        : probes ? Mark::bad
                 : Mark::note,
        "BTF",
        btf ? "/sys/kernel/btf/vmlinux"
            : "no /sys/kernel/btf/vmlinux: probes need a kernel with CONFIG_DEBUG_INFO_BTF=y");
  const bool psi = exists(host.procfs("pressure"));
  f.say(psi ? Mark::good : Mark::note, "PSI",
        psi ? "pressure is kept" : "no /proc/pressure: CONFIG_PSI=y, maybe psi=1 on the kernel's command line");
  // As the collector kernel_log opens it; but whoever asks may read more, or less, than a unit.
  const Fd log(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  const int err = errno;
  f.say(log && asked_for(in, "kernel_log") ? Mark::good : Mark::note, "kernel log",
        log ? "/dev/kmsg: this user may read it (hung tasks, errors of disks, as the kernel says them); a unit with "
              "ProtectKernelLogs= or PrivateDevices= may not"
            : fmt::format("hung tasks and errors of disks are not told at once: {}; it takes CAP_SYSLOG where "
                          "kernel.dmesg_restrict is 1, and in a unit ProtectKernelLogs=no and PrivateDevices=no",
                          from_errno("/dev/kmsg", err).text));
  cgroups(f, host);
}

// Zones with a counter; those of idle injection and DTPM have none.
void rapl(Findings& f, const DoctorInput& in) {
  std::size_t zones = 0;
  std::string closed;
  if (const auto entries = list_directory(in.host.sysfs("class/powercap"))) {
    for (const auto& entry : *entries) {
      const auto counter = in.host.sysfs(fmt::format("class/powercap/{}/energy_uj", entry));
      if (!exists(counter)) continue;
      ++zones;
      if (closed.empty() && !may(counter, R_OK)) closed = counter;
    }
  }
  const bool pmu = exists(in.host.sysfs("bus/event_source/devices/power/type"));
  const bool counts = pmu && (has_capability(CAP_PERFMON) || has_capability(CAP_SYS_ADMIN));
  if (pmu)
    f.say(counts ? Mark::good : Mark::note, "energy",
          counts ? "perf's PMU power, whatever the files of powercap say"
                 : "perf's PMU power is there and needs CAP_PERFMON; without it powercap counts where it can be read");
  if (zones == 0) f.say(Mark::note, "RAPL", "no energy counters: not this CPU, or a virtual machine");
  else if (closed.empty()) f.say(Mark::good, "RAPL", fmt::format("{} zones, readable", zones));
  else
    f.say(asked_for(in, "rapl") ? Mark::bad : Mark::note, "RAPL",
          fmt::format("{} is for root only: CAP_DAC_READ_SEARCH (above), or chmod a+r by a udev rule", closed));
}

// Who looks for a disk's health here must not take its absence for good news. What the SAS transport of the kernel has
// lies below one of its end devices; disks of ATA behind such a controller are asked.
void sas_disks(Findings& f, const Host& host) {
  std::string names;
  std::size_t count = 0;
  const auto blocks = list_directory(host.sysfs("block"));
  for (const auto& name : blocks.value_or(std::vector<std::string>{})) {
    const auto vendor = read_kernel_file(host.sysfs(fmt::format("block/{}/device/vendor", name)));
    std::error_code error;
    const auto place = std::filesystem::canonical(host.sysfs(fmt::format("block/{}/device", name)), error).string();
    if (error || place.find("/end_device-") == std::string::npos || !vendor || trim(*vendor) == "ATA") continue;
    if (++count <= 8) names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
  }
  if (count == 0) return;
  f.say(
      Mark::note, "SMART",
      fmt::format("{}{}: SAS, whose health is not read (smartctl has it); what the kernel says of their errors is told",
                  names, count > 8 ? fmt::format(" and {} more", count - 8) : ""));
}

void hardware(Findings& f, const DoctorInput& in) {
  const auto chips = list_directory(in.host.sysfs("class/hwmon"));
  const auto n = chips ? chips->size() : 0;
  f.say(n ? Mark::good : Mark::note, "hwmon",
        n ? fmt::format("{} chips", n) : "no chip: on bare metal run sensors-detect; a virtual machine has none");
  rapl(f, in);
  sas_disks(f, in.host);
}

void view(Findings& f, const Host& host) {
  for (const auto& row : view_rows(host))
    f.say(row.seen ? Mark::good : Mark::bad, fmt::format("host {}", row.of), row.text);
}

void guests(Findings& f, const DoctorInput& in) {
  const auto& root = in.host.roots().root;
  if (!exists(path_below_root(root, "/dev/kvm")))
    f.say(Mark::note, "KVM", "no /dev/kvm: no hardware virtualisation here");
  else f.say(Mark::good, "KVM", "/dev/kvm");
  for (const auto* name : {"/run/libvirt/virtqemud-sock-ro", "/run/libvirt/libvirt-sock-ro"}) {
    const auto socket = path_below_root(root, name);
    if (!exists(socket)) continue;
    const bool lets_in = may(socket, R_OK | W_OK);
    return f.say(lets_in                    ? Mark::good
                 : asked_for(in, "libvirt") ? Mark::bad
                                            : Mark::note,
                 "libvirt",
                 lets_in ? socket : fmt::format("{} does not let us in: add our user to group libvirt", socket));
  }
  f.say(Mark::note, "libvirt",
        fmt::format("no socket below {}: no libvirtd here", path_below_root(root, "/run/libvirt")));
}

// Probes that could not be attached run all the same, and say so by vitald_probe_up.
std::vector<std::string> probes_down(const Snapshot* snapshot) {
  std::vector<std::string> down;
  if (!snapshot) return down;
  for (const auto& batch : snapshot->batches)
    for (const auto& sample : batch->layout->samples())
      if (sample.family->name == "vitald_probe_up" && batch->values[sample.value] == 0)
        for (const auto& label : batch->layout->labels(sample))
          if (label.name == "probe") down.emplace_back(label.value);
  return down;
}

// A program that the configuration's check says cannot be run is not said a second time by the collector that cannot.
bool without_told(CollectorStatus& c, const std::vector<std::string>& problems) {
  if (c.name != "exec") return false;
  return std::erase_if(c.left_out, [&](const std::string& item) {
           const auto word = fmt::format("exec '{}': ", std::string_view(item).substr(0, item.find(": ")));
           const auto says = [&](const std::string& p) { return p.find(word) != p.npos; };
           if (std::ranges::none_of(problems, says)) return false;
           if (const auto at = c.text.find("; " + item); at != c.text.npos) c.text.erase(at, item.size() + 2);
           return true;
         }) > 0;
}

void collector(Findings& f, CollectorStatus c, bool down, const std::vector<std::string>& problems) {
  const bool told = without_told(c, problems);
  constexpr std::size_t kMostItems = 5;
  switch (c.state) {
    using enum CollectorStatus::State;
    case off: f.say(Mark::note, c.name, fmt::format("off: {}", c.text)); break;
    case starting: f.say(Mark::note, c.name, fmt::format("starting: {}", c.text)); break;
    // That this machine has no such thing is a finding where it was asked for by name.
    case unavailable: f.say(c.by_name ? Mark::bad : Mark::note, c.name, c.text); break;
    case failed: f.say(Mark::bad, c.name, c.text); break;
    case on:
      f.say(down || !c.left_out.empty() ? Mark::bad
            : told                      ? Mark::note
                                        : Mark::good,
            c.name, told ? c.text + "; of others Configuration says why" : c.text);
      break;
  }
  std::vector<std::string_view> more;  // than the line of the collector has already
  for (const auto& item : c.left_out)
    if (("; " + c.text).find("; " + item) == std::string::npos) more.push_back(item);
  for (std::size_t i = 0; i < std::min(more.size(), kMostItems); ++i)
    f.say(Mark::bad, "", fmt::format("left out: {}", more[i]));
  if (more.size() > kMostItems)
    f.say(Mark::bad, "", fmt::format("and {} more; the log has all", more.size() - kMostItems));
}

}  // namespace

Diagnosis diagnose(const DoctorInput& in) {
  Findings f;
  f.head(fmt::format("vitald {}", VITALD_VERSION));
  f.head("Configuration");
  if (in.problems.empty()) f.say(Mark::good, "what was looked at is good", "");
  for (const auto& p : in.problems) f.say(Mark::bad, p, "");
  for (const auto& w : in.warnings) f.say(Mark::note, w, "");
  // Flags alone are only half of what a service may run with: which half was looked at is said.
  const std::string_view kService = "/etc/vitald/vitald.yaml";
  if (!in.config_file.empty()) f.say(Mark::good, "file", in.config_file);
  else if (exists(std::string(kService)))
    f.say(Mark::note, "file", fmt::format("none was looked at; that of the service: --config.file={}", kService));
  else f.say(Mark::note, "file", "none was looked at (--config.file): neither receivers nor destinations are known");
  f.head("This machine");
  view(f, in.host);
  const bool probes = std::ranges::any_of(
      in.collectors, [](const auto& c) { return c.probe() && c.state != CollectorStatus::State::off; });
  privileges(f, in, probes);
  kernel(f, in, probes);
  hardware(f, in);
  guests(f, in);
  f.say(in.state.good ? Mark::good : in.state.wanted ? Mark::bad : Mark::note, "state", in.state.text);
  if (!in.kept.empty()) f.say(in.kept_is_lost ? Mark::note : Mark::good, "history.keep", in.kept);
  if (!in.evidence.empty()) f.say(in.evidence_is_kept ? Mark::good : Mark::note, "evidence", in.evidence);
  if (!in.verdict.empty()) f.say(in.has_verdict ? Mark::good : Mark::note, "verdict", in.verdict);
  const auto down = probes_down(in.snapshot);
  for (const bool of_probes : {false, true}) {
    f.head(of_probes ? "Probes" : "Collectors");
    for (const auto& c : in.collectors)
      if (c.probe() == of_probes) collector(f, c, std::ranges::find(down, c.name) != down.end(), in.problems);
  }
  return f.take();
}

// What history.keep asks for, in one line.
std::string kept_text(const Options& o, bool is_lost) {
  std::vector<std::string> problems;  // told by the configuration already
  std::int64_t longest_ms = 0;
  const auto& entries = o.list("history.keep");
  for (const auto& text : entries)
    if (const auto keep = parse_keep(text, problems)) longest_ms = std::max(longest_ms, keep->for_ms);
  if (longest_ms == 0) return {};
  return fmt::format("{} {}, the longest for {}, within history.memory of {} MiB; {}", entries.size(),
                     entries.size() == 1 ? "entry" : "entries", promql::duration_text(longest_ms),
                     o.number("history.memory"),
                     is_lost ? "a restart loses them: give --state.directory" : "kept over a restart");
}

// What an alert that fires leaves behind.
std::string evidence_text(const Options& o, bool kept) {
  const auto mib = o.number("evidence.disk");
  auto out = mib == 0 ? std::string("none is written: --evidence.disk=0")
             : kept   ? fmt::format("of alerts that fire, {} MiB at most in the state directory", mib)
                      : std::string("none is written: there is no state directory");
  // As the kernel decides it: capability, kernel.dmesg_restrict, a container's seccomp filter.
  constexpr int kSizeOfLog = 10;  // SYSLOG_ACTION_SIZE_BUFFER of syslog(2)
  if (mib > 0 && kept) {
    if (klogctl(kSizeOfLog, nullptr, 0) < 0)
      out += "; without the end of the kernel's log (kernel.dmesg_restrict is 1: CAP_SYSLOG)";
    out += "; of blocked tasks it has wchan, and stacks only as far as the kernel shows them without CAP_SYS_ADMIN";
  }
  if (!o.flag("evidence.last-words")) return out += "; no last words";
  return out += may("/dev/kmsg", W_OK) ? "; last words go to the kernel's log"
                                       : "; no last words: /dev/kmsg cannot be written (root, and the device)";
}

// Verdict and explain look at the history, which is there where something is judged.
bool has_history(const Options& o) {
  return o.flag("history.without-rules") || !o.list("rules.file").empty() || !o.list("checks.file").empty();
}
std::string verdict_text(const Options& o) {
  if (!has_history(o)) return "none, and nothing to explain: no history is kept (rules.files or history.without_rules)";
  const auto file = o.text("verdict.file");
  return file.empty() ? "by the rules that are built in" : fmt::format("by the rules of {}", file);
}

// Each is asked, and told nothing.
Diagnosis diagnose_receivers(std::span<const std::shared_ptr<ReceiverSettings>> receivers,
                             std::span<const std::shared_ptr<PushSettings>> pushes) {
  Findings f;
  const auto ask = [&f](const auto& all, std::string_view head) {
    if (!all.empty()) f.head(head);
    for (const auto& r : all) {
      constexpr std::int64_t kPatienceNs = 5'000'000'000;
      const auto found = r->reach({SystemClock::read(CLOCK_BOOTTIME) + std::min(kPatienceNs, r->timeout_ns), -1});
      f.say(found ? Mark::good : Mark::bad, r->name,
            fmt::format("{}: {}", r->text(), found ? *found : found.error().text));
    }
  };
  ask(receivers, "Receivers");
  ask(pushes, "Destinations of metrics");
  return f.take();
}

int run_doctor(const Config& config, std::ostream& out) {
  const auto& o = config.options;
  share_out_descriptors(o.list("web.listen-address").size());  // as the daemon has them
  const Host host({std::string(o.text("path.procfs")), std::string(o.text("path.sysfs")),
                   std::string(o.text("path.rootfs")), std::string(o.text("path.udev.data"))});
  std::vector<std::string> problems, warnings;
  check_configuration(config, problems, warnings);
  SnapshotHub hub;
  const auto make_worker = [&](std::string_view name) {
    return std::make_unique<WorkerClient>(worker_settings(name, config.command_line.arguments));
  };
  Pipeline pipeline(host, collector_list(), make_worker, hub);
  PipelineConfig start;
  start.options = std::make_shared<const Options>(o);
  // So long that each worker has answered, or was ended.
  if (const auto started = pipeline.start(std::move(start), WorkerSettings().deadline_ns + 1'000'000'000); !started) {
    log::say(fmt::format("vitald: error: {}\n", started.error().text));
    return 1;
  }
  pipeline.wait_for_configurations(1, 20'000'000'000);  // one that hangs is told of as such
  const auto rows = pipeline.status();
  const auto snapshot = hub.latest();
  std::vector<std::string> told;  // by the configuration already
  const auto state = check_state(o, told);
  static const std::vector<CollectorStatus> kNone;
  const bool lost = !state.good;
  const auto found =
      diagnose({host, rows ? *rows : kNone, snapshot.get(), state, problems, warnings, kept_text(o, lost), lost,
                evidence_text(o, state.good), state.good && o.number("evidence.disk") > 0,
                std::string(o.text("config.file")), verdict_text(o), has_history(o)});
  const auto told_of = diagnose_receivers(config.file.receivers, config.file.pushes);
  out << found.text << told_of.text << std::flush;
  const int status = found.good && told_of.good && out ? 0 : 1;
  if (pipeline.stop(1'000'000'000)) return status;
  log::flush(kLastWordsNs);
  _exit(status);
}

}  // namespace vitald
