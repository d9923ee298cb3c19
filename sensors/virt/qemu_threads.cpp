// SPDX-License-Identifier: Apache-2.0
#include "sensors/virt/qemu_threads.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "core/os/kernel_file.h"
#include "core/os/root_path.h"
#include "core/text/scan.h"

namespace vitald::virt {
namespace {

constexpr std::size_t row_of(std::string_view key) {
  for (std::size_t i = 0; i < std::size(kVcpuRows); ++i)
    if (kVcpuRows[i].key == key) return i;
  return std::size(kVcpuRows);
}
constexpr std::size_t kTime = row_of("time"), kDelay = row_of("delay"), kCpu = row_of("cpu");
static_assert(kTime < std::size(kVcpuRows) && kDelay < std::size(kVcpuRows) && kCpu < std::size(kVcpuRows));

struct Schedstat {
  std::uint64_t run_ns, delay_ns, slices;
};

// "19175678812 7482421634 36980\n": run time, run-queue delay, slices (proc_pid_schedstat, fs/proc/base.c);
// "0 0 0" where the kernel keeps none.
std::optional<Schedstat> read_schedstat(const std::string& path) {
  const auto text = read_kernel_file(path);
  if (!text) return std::nullopt;
  auto rest = *text;
  const auto run = take_u64(rest), delay = take_u64(rest), slices = take_u64(rest);
  if (!run || !delay || !slices) return std::nullopt;
  return Schedstat{*run, *delay, *slices};
}

// "27070 (CPU 1/KVM) S 1 ... 17 3 0 0 ...": the 39th column, 36 behind the name, is the CPU (proc(5)).
double read_cpu(const std::string& path) {
  const auto text = read_kernel_file(path);
  if (!text) return kNone;
  std::string_view rest = *text;
  const auto name_end = rest.rfind(')');
  if (name_end == rest.npos) return kNone;
  rest.remove_prefix(name_end + 1);
  for (int i = 0; i < 36; ++i) take_word(rest);
  const auto cpu = take_u64(rest = trim(rest));
  return cpu ? static_cast<double>(*cpu) : kNone;
}

// "CPU 0/KVM" -> 0; nothing of a thread that is no vCPU.
std::optional<std::size_t> vcpu_of(std::string_view comm) {
  if (!take_prefix(comm, "CPU")) return std::nullopt;
  const auto vcpu = take_u64(comm);
  if (!vcpu || *vcpu >= kMaxVcpus || !comm.starts_with('/')) return std::nullopt;
  return static_cast<std::size_t>(*vcpu);
}

// QEMU writes a comma in an argument as two.
std::string escaped(std::string_view name) {
  std::string out;
  for (const char c : name) out.append(c == ',' ? 2 : 1, c);
  return out;
}

}  // namespace

bool QemuThreads::find(const Host& host, const std::string& guest) {
  files_.clear();
  stale_ = false;
  const auto pid_text =
      read_kernel_file(path_below_root(host.roots().root, fmt::format("/run/libvirt/qemu/{}.pid", guest)));
  if (!pid_text) return false;
  const auto pid = parse_u64(trim(*pid_text));
  if (!pid) return false;
  if (*pid != pid_) {  // another process counts anew
    groups_.clear();
    gone_.clear();
    pid_ = *pid;
  }
  // qemu-system-x86_64 -name guest=web,debug-threads=on ... with NUL between: is it that guest, and not what
  // has this number in our PID namespace?
  const auto command = read_kernel_file(host.procfs(fmt::format("{}/cmdline", *pid)));
  if (!command || command->find(fmt::format("guest={},", escaped(guest))) == std::string_view::npos) return false;
  const auto tasks = list_directory(host.procfs(fmt::format("{}/task", *pid)));
  if (!tasks) return false;
  for (const auto& tid : *tasks) {
    const auto name = read_kernel_file(host.procfs(fmt::format("{}/task/{}/comm", *pid, tid)));
    if (!name) continue;
    if (const auto vcpu = vcpu_of(*name))
      files_.push_back({*vcpu, tid, host.procfs(fmt::format("{}/task/{}", *pid, tid))});
  }
  tids_ = *tasks;
  // A vCPU that waits for its first start has run, too: it announced itself.
  for (const auto& file : files_)
    if (const auto s = read_schedstat(file.path + "/schedstat"); !s || s->slices == 0) return files_.clear(), false;
  const auto before = std::exchange(groups_, {});
  find_groups(host, *pid);
  if (groups_.empty()) gone_.clear();
  else
    for (const auto& old : before) {
      const auto same = std::ranges::find(groups_, old.path, &Group::path);
      if (same == groups_.end()) gone_.push_back(old);
      else *same = old;
    }
  return found();
}

bool QemuThreads::changed(const Host& host) {
  if (!found() || stale_) return stale_;
  auto tasks = list_directory(host.procfs(fmt::format("{}/task", pid_)));
  if (!tasks) return false;  // it has ended, which libvirt tells
  const auto has = [](const std::vector<std::string>& all, const std::string& tid) {
    return std::ranges::find(all, tid) != all.end();
  };
  stale_ = !std::ranges::all_of(files_, [&](const File& file) { return has(*tasks, file.tid); });
  for (const auto& tid : *tasks) {
    if (has(tids_, tid)) continue;
    const auto name = read_kernel_file(host.procfs(fmt::format("{}/task/{}/comm", pid_, tid)));
    stale_ = stale_ || (name && vcpu_of(*name));
  }
  tids_ = std::move(*tasks);
  return stale_;
}

// "0::/machine.slice/machine-qemu\x2d1\x2dweb.scope/libvirt/emulator\n": libvirt has a group for each thread below
// the guest's. Others (the cgroup that libvirtd itself is in) are not the guest's.
void QemuThreads::find_groups(const Host& host, std::uint64_t pid) {
  const auto text = read_kernel_file(host.procfs(fmt::format("{}/cgroup", pid)));
  if (!text) return;
  for (std::string_view lines = *text; !lines.empty();) {
    auto line = take_line(lines);
    if (!take_prefix(line, "0::")) continue;
    constexpr std::string_view kOwn = "/libvirt/";
    const auto at = line.rfind(kOwn);
    if (at == line.npos) return;
    const auto guest = host.sysfs("fs/cgroup" + std::string(line.substr(0, at)));
    groups_.push_back({"guest", guest + "/cpu.stat", false, 0, 0});
    const auto below = guest + "/libvirt";
    const auto names = list_directory(below);
    if (!names) return;
    for (const auto& name : *names)
      for (const std::string_view part : {"vcpu", "emulator", "iothread"})
        if (name.starts_with(part)) groups_.push_back({part, fmt::format("{}/{}/cpu.stat", below, name), false, 0, 0});
    return;
  }
}

std::vector<QemuThreads::Throttled> QemuThreads::throttled() {
  for (auto& group : groups_) {
    const auto text = read_kernel_file(group.path);
    if (!text) continue;  // unplugged: what it had counted stays
    std::optional<std::uint64_t> usec, periods;
    for (std::string_view lines = *text; !lines.empty();) {
      auto line = take_line(lines);
      if (take_prefix(line, "throttled_usec ")) usec = parse_u64(line);
      if (take_prefix(line, "nr_throttled ")) periods = parse_u64(line);
    }
    if (!usec || !periods) continue;
    if (*usec < group.usec) gone_.push_back(group);  // unplugged and plugged again
    group.known = true;
    group.usec = *usec;
    group.periods = *periods;
  }
  // Whole numbers until the end: a sum of fractions in another order may be less by its last bit, which is a reset.
  std::vector<Group> sums;
  for (const auto* groups : {&groups_, &gone_})
    for (const auto& group : *groups) {
      if (!group.known) continue;
      auto at = std::ranges::find(sums, group.part, &Group::part);
      if (at == sums.end()) at = sums.insert(sums.end(), Group{group.part, "", true, 0, 0});
      at->usec += group.usec;
      at->periods += group.periods;
    }
  std::vector<Throttled> out;
  for (const auto& sum : sums)
    out.push_back({sum.part, static_cast<double>(sum.usec) / 1e6, static_cast<double>(sum.periods)});
  return out;
}

void QemuThreads::read(std::vector<Vcpu>& vcpus, bool cpus) const {
  for (const auto& file : files_) {
    if (vcpus.size() <= file.vcpu) vcpus.resize(file.vcpu + 1);
    auto& values = vcpus[file.vcpu].numbers.values;
    const auto s = read_schedstat(file.path + "/schedstat");
    values[kTime] = s ? static_cast<double>(s->run_ns) : kNone;
    values[kDelay] = s ? static_cast<double>(s->delay_ns) : kNone;
    if (cpus) values[kCpu] = read_cpu(file.path + "/stat");
  }
}

}  // namespace vitald::virt
