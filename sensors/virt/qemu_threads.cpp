// SPDX-License-Identifier: Apache-2.0
#include "sensors/virt/qemu_threads.h"

#include <fmt/format.h>

#include <optional>

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
constexpr std::size_t kTime = row_of("time"), kDelay = row_of("delay");
static_assert(kTime < std::size(kVcpuRows) && kDelay < std::size(kVcpuRows));

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

}  // namespace

bool QemuThreads::find(const Host& host, const std::string& guest) {
  files_.clear();
  const auto pid_text =
      read_kernel_file(path_below_root(host.roots().root, fmt::format("/run/libvirt/qemu/{}.pid", guest)));
  if (!pid_text) return false;
  const auto pid = parse_u64(trim(*pid_text));
  if (!pid) return false;
  // qemu-system-x86_64 -name guest=web,debug-threads=on ... with NUL between: is it that guest, and not what
  // has this number in our PID namespace?
  const auto command = read_kernel_file(host.procfs(fmt::format("{}/cmdline", *pid)));
  if (!command || command->find(fmt::format("guest={},", guest)) == std::string_view::npos) return false;
  const auto tasks = list_directory(host.procfs(fmt::format("{}/task", *pid)));
  if (!tasks) return false;
  for (const auto& tid : *tasks) {
    const auto name = read_kernel_file(host.procfs(fmt::format("{}/task/{}/comm", *pid, tid)));
    if (!name) continue;
    auto rest = *name;  // "CPU 0/KVM"
    if (!take_prefix(rest, "CPU")) continue;
    const auto vcpu = take_u64(rest);
    if (!vcpu || *vcpu >= kMaxVcpus || !rest.starts_with('/')) continue;
    files_.push_back({*vcpu, host.procfs(fmt::format("{}/task/{}/schedstat", *pid, tid))});
  }
  // A vCPU that waits for its first start has run, too: it announced itself.
  for (const auto& file : files_)
    if (const auto s = read_schedstat(file.path); !s || s->slices == 0) return files_.clear(), false;
  return found();
}

void QemuThreads::read(std::vector<Vcpu>& vcpus) const {
  for (const auto& file : files_) {
    if (vcpus.size() <= file.vcpu) vcpus.resize(file.vcpu + 1);
    auto& values = vcpus[file.vcpu].numbers.values;
    const auto s = read_schedstat(file.path);
    values[kTime] = s ? static_cast<double>(s->run_ns) : kNone;
    values[kDelay] = s ? static_cast<double>(s->delay_ns) : kNone;
  }
}

}  // namespace vitald::virt
