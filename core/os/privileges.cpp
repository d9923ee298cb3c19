// SPDX-License-Identifier: Apache-2.0
#include "core/os/privileges.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>

namespace vitald {
namespace {

constexpr std::array kPrivileges = {
    Privilege{CAP_BPF, "CAP_BPF", "eBPF probes: loading", true},
    Privilege{CAP_PERFMON, "CAP_PERFMON", "eBPF probes: attaching; energy (energy_meters), perf", true},
    Privilege{CAP_DAC_READ_SEARCH,
              "CAP_DAC_READ_SEARCH",
              "files of root: energy (rapl), the BMC (ipmi), slabinfo, serial numbers (dmi), mounts in closed folders; "
              "others' files of GPUs",
              true,
              {"ipmi", "drm_gpus"}},
    Privilege{CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE", "eBPF probes before Linux 5.11: locked memory", false},
    Privilege{CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE", "root: a state directory of another user", false},
    Privilege{CAP_CHOWN, "CAP_CHOWN", "root: hooks as another user", false},
    Privilege{CAP_SETUID, "CAP_SETUID", "root: hooks as another user", false},
    Privilege{CAP_SETGID, "CAP_SETGID", "root: hooks as another user", false},
    Privilege{CAP_KILL, "CAP_KILL", "root: ending a hook of another user", false},
    Privilege{CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "collector smart: NVMe disks", false, {"smart"}, false},
    Privilege{CAP_SYS_RAWIO, "CAP_SYS_RAWIO", "collector smart: ATA disks", false, {"smart"}, false},
    Privilege{CAP_SYS_PTRACE,
              "CAP_SYS_PTRACE",
              "collector drm_gpus: what processes use of GPUs of AMD and Intel",
              false,
              {"drm_gpus"},
              false},
    Privilege{CAP_SYSLOG, "CAP_SYSLOG", "evidence of alerts: the end of the kernel's log", false},
    Privilege{CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE", "a port below 1024", false},
};

struct Sets {
  __user_cap_data_struct data[2]{};  // of capabilities 0 to 31 and 32 to 63
};

bool get(Sets& sets) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  return syscall(SYS_capget, &header, sets.data) == 0;
}
bool set(const Sets& sets) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  return syscall(SYS_capset, &header, sets.data) == 0;
}
unsigned bit(unsigned capability) { return 1U << (capability % 32); }
// Before Linux 5.8 there is no CAP_BPF, and CAP_SYS_ADMIN is what loads programs.
bool is_ours(const Privilege& p) {
  return p.ours || (p.capability == CAP_SYS_ADMIN && prctl(PR_CAPBSET_READ, CAP_BPF, 0, 0, 0) < 0);
}

}  // namespace

std::span<const Privilege> privileges() { return kPrivileges; }

bool has_capability(unsigned capability) {
  Sets sets;
  return get(sets) && (sets.data[capability / 32].effective & bit(capability)) != 0;
}

bool may_give_capability(unsigned capability) {
  Sets sets;
  return get(sets) && (sets.data[capability / 32].permitted & bit(capability)) != 0;
}

bool keep_only_used_privileges(std::string_view worker) {
  Sets have, keep;
  if (!get(have)) return false;
  for (const auto& p : kPrivileges) {
    auto& half = keep.data[p.capability / 32];
    const auto got = have.data[p.capability / 32].permitted & bit(p.capability);
    half.permitted |= got;
    if (is_ours(p) || p.of_worker(worker)) half.effective |= got;
  }
  // Inheritable and with it ambient are empty from here on: what systemd gave us is not for our children.
  if (!set(keep)) return false;
  // A program file with capabilities makes /proc/self root's.
  return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
}

bool give_up_privileges_of_worker(std::string_view collector) {
  Sets keep;
  if (!get(keep)) return false;
  for (const auto& p : kPrivileges) {
    if (!p.of_worker(collector) || is_ours(p)) continue;
    auto& half = keep.data[p.capability / 32];
    half.permitted &= ~bit(p.capability);
    half.effective &= half.permitted;
  }
  return set(keep);
}

std::uint64_t privileges_of_worker(std::string_view collector) {
  std::uint64_t out = 0;
  for (const auto& p : kPrivileges)
    if (p.of_worker(collector)) out |= std::uint64_t{1} << p.capability;
  return out;
}

bool give_up_privileges(bool for_good, std::uint64_t keep) {
  if (for_good && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  Sets have;
  if (get(have) && (have.data[0].permitted | have.data[1].permitted) == 0)
    return true;  // below a filter without capset
  Sets left;
  for (std::size_t half = 0; half < 2; ++half) {
    auto& data = left.data[half];
    data.permitted = have.data[half].permitted & static_cast<std::uint32_t>(keep >> (32 * half));
    data.effective = data.inheritable = data.permitted;
  }
  if (!set(left)) return false;
  // Without this a user who is not root would lose them with the exec.
  for (unsigned capability = 0; capability < 64; ++capability)
    if ((left.data[capability / 32].permitted >> (capability % 32) & 1U) != 0 &&
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0)
      return false;
  return true;
}

}  // namespace vitald
