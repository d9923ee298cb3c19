// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/probe.h"

#include <bpf/btf.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdarg>
#include <cstring>

#include "core/log.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr const char* kTracepoints[] = {
    "sched_switch",
    "sched_wakeup",
    "sched_wakeup_new",
    "cgroup_rmdir",
    "block_rq_insert",
    "block_rq_issue",
    "block_rq_complete",
    "mark_victim",
    "signal_generate",
    "mm_vmscan_direct_reclaim_begin",
    "mm_vmscan_direct_reclaim_end",
};

// The last complaint of libbpf on this thread, for the reason text. libbpf writes whole lines; a verifier log
// comes as one call of many lines, its end says what was wrong.
thread_local std::string complaint;

int print(libbpf_print_level level, const char* format, va_list args) {
  if (level == LIBBPF_DEBUG) return 0;
  std::array<char, 4096> line{};
  va_list copy;
  va_copy(copy, args);
  const int n = vsnprintf(line.data(), line.size(), format, copy);
  va_end(copy);
  if (n <= 0) return n;
  const auto text =
      trim(std::string_view(line.data(), std::min<std::size_t>(static_cast<std::size_t>(n), line.size() - 1)));
  log::debug(text, {{"from", "libbpf"}});
  if (level == LIBBPF_WARN) complaint = text.substr(0, 300);
  return n;
}

void set_up_libbpf() {
  static const bool once = [] {
    libbpf_set_print(print);
    // Before 5.11 maps are charged to RLIMIT_MEMLOCK; libbpf asks for infinity itself, without
    // CAP_SYS_RESOURCE only the hard limit is to be had.
    rlimit limit{};
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
      limit.rlim_cur = limit.rlim_max;
      setrlimit(RLIMIT_MEMLOCK, &limit);
    }
    return true;
  }();
  (void)once;
}

bool has_capability(unsigned capability) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  return (data[capability / 32].effective >> (capability % 32)) & 1u;
}

bool may_trace() { return has_capability(CAP_SYS_ADMIN) || (has_capability(CAP_BPF) && has_capability(CAP_PERFMON)); }

struct FreeBtf {
  void operator()(btf* b) const noexcept { btf__free(b); }
};

bool has_field(const btf* b, const char* type, std::string_view field) {
  const auto id = btf__find_by_name_kind(b, type, BTF_KIND_STRUCT);
  if (id < 0) return false;
  const auto* t = btf__type_by_id(b, static_cast<__u32>(id));
  const auto* m = btf_members(t);
  return std::any_of(m, m + btf_vlen(t),
                     [&](const btf_member& x) { return field == btf__name_by_offset(b, x.name_off); });
}

// typedef void (*btf_trace_NAME)(void *, arguments...)
int tracepoint_arguments(const btf* b, const char* tracepoint) {
  const auto id = btf__find_by_name_kind(b, fmt::format("btf_trace_{}", tracepoint).c_str(), BTF_KIND_TYPEDEF);
  if (id < 0) return -1;
  const auto* pointer = btf__type_by_id(b, btf__type_by_id(b, static_cast<__u32>(id))->type);
  return btf_vlen(btf__type_by_id(b, pointer->type)) - 1;
}

// /proc/self/schedstat: "277274 0 1": time on CPU, time waiting, times run. All 0 where the kernel has SCHED_INFO but
// keeps it switched off (before 5.14 with delayacct off).
bool sched_info_is_on() {
  const auto text = read_kernel_file("/proc/self/schedstat");
  if (!text) return false;
  std::string_view rest = *text;
  take_word(rest), take_word(rest);
  const auto runs = take_u64(rest);
  return runs && *runs > 0;
}

KernelFacts read_facts() {
  KernelFacts facts;
  set_up_libbpf();
  if (access("/sys/kernel/btf/vmlinux", R_OK) != 0) {
    facts.missing = from_errno("/sys/kernel/btf/vmlinux", errno).text;
    return facts;
  }
  const std::unique_ptr<btf, FreeBtf> b(btf__load_vmlinux_btf());
  if (!b) {
    facts.missing = from_errno("/sys/kernel/btf/vmlinux", errno).text;
    return facts;
  }
  for (const auto* name : kTracepoints)
    if (const int n = tracepoint_arguments(b.get(), name); n >= 0) facts.tracepoint_arguments[name] = n;
  facts.keeps_last_queued = has_field(b.get(), "sched_info", "last_queued") &&
                            has_field(b.get(), "sched_entity", "cfs_rq") && sched_info_is_on();
  return facts;
}

KernelFacts& known_facts() {
  static KernelFacts facts = [] {
    auto f = read_facts();
    malloc_trim(0);
    return f;
  }();
  return facts;
}

std::string program_name(const ProbeHook& hook, HookForm form) {
  return form == HookForm::tp_btf ? hook.program : fmt::format("{}_raw", hook.program);
}

class OffProbe final : public Collector {
 public:
  OffProbe(std::string_view probe, const Error& why) : probe_(probe), reason_(why.text) {
    const auto prefix = fmt::format("probe {}: ", probe);
    if (reason_.starts_with(prefix)) reason_.erase(0, prefix.size());
  }
  Result<> collect(BatchWriter& out) override {
    out.set(kProbeMetrics[0], 0, probe_, "off", reason_);
    return {};
  }
  std::string status() const override { return "off: " + reason_; }

 private:
  std::string probe_, reason_;
};

}  // namespace

int KernelFacts::arguments(std::string_view tracepoint) const {
  const auto it = tracepoint_arguments.find(tracepoint);
  return it == tracepoint_arguments.end() ? -1 : it->second;
}

const KernelFacts& kernel_facts() { return known_facts(); }

void pretend(const KernelFacts& facts) { known_facts() = facts; }

std::string_view to_string(HookForm form) { return form == HookForm::tp_btf ? "tp_btf" : "raw_tp"; }

namespace probe_detail {

Result<> check(std::string_view probe, std::span<const ProbeHook> hooks) {
  const auto& facts = kernel_facts();
  if (!facts.missing.empty())
    return fail(Errc::absent, fmt::format("probe {}: no BTF of the running kernel ({}): needs a kernel built with "
                                          "CONFIG_DEBUG_INFO_BTF=y and a readable /sys/kernel/btf",
                                          probe, facts.missing));
  for (const auto& hook : hooks)
    if (!facts.has(hook.tracepoint))
      return fail(Errc::absent, fmt::format("probe {}: this kernel has no tracepoint {}", probe, hook.tracepoint));
  return {};
}

void choose_programs(bpf_object* object, std::span<const ProbeHook> hooks, HookForm form) {
  bpf_program* program;
  bpf_object__for_each_program(program, object) {
    const bool wanted = std::ranges::any_of(
        hooks, [&](const ProbeHook& h) { return program_name(h, form) == bpf_program__name(program); });
    bpf_program__set_autoload(program, wanted);
  }
  complaint.clear();
}

Result<std::vector<LinkPtr>> attach(std::string_view probe, bpf_object* object, std::span<const ProbeHook> hooks,
                                    HookForm form) {
  std::vector<LinkPtr> links;
  for (const auto& hook : hooks) {
    if (!hook.attach) continue;
    auto link = attach_program(probe, object, hook.program, form);
    if (!link) return fail(link.error());
    links.push_back(std::move(*link));
  }
  return links;
}

Error load_error(std::string_view probe, int err) {
  if (err == EPERM || err == EACCES) {
    if (!may_trace())
      return {Errc::denied, err,
              fmt::format("probe {}: the kernel refused to load it (EPERM): CAP_BPF and CAP_PERFMON are needed "
                          "(CAP_SYS_ADMIN before Linux 5.8). Grant both, or turn it off with --no-probe.{}",
                          probe, probe)};
    rlimit limit{};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (err == EPERM && limit.rlim_cur != RLIM_INFINITY)
      return {
          Errc::denied, err,
          fmt::format("probe {}: the kernel refused its maps (EPERM) with RLIMIT_MEMLOCK at {} bytes, against which "
                      "kernels before 5.11 count them. Set LimitMEMLOCK=infinity, or lower --owner.limit",
                      probe, limit.rlim_cur)};
  }
  auto e = from_errno(fmt::format("probe {}: load", probe), err);
  if (!complaint.empty()) e.text += fmt::format(" [{}]", complaint);
  return e;
}

void give_back_memory() {
  // libbpf has parsed the kernel's types for the relocations: 13 MB that glibc would keep.
  malloc_trim(0);
}

}  // namespace probe_detail

Result<LinkPtr> attach_program(std::string_view probe, bpf_object* object, const char* program, HookForm form) {
  const auto name = program_name({program, ""}, form);
  auto* found = bpf_object__find_program_by_name(object, name.c_str());
  if (!found) return fail(Errc::absent, fmt::format("probe {}: no program {}", probe, name));
  LinkPtr link(bpf_program__attach(found));
  if (!link) return fail(from_errno(fmt::format("probe {}: attach {}", probe, name), errno));
  return link;
}

ProbeReport::ProbeReport(std::string_view probe, const bpf_object* object, HookForm form) : probe_(probe), form_(form) {
  bpf_program* program;
  bpf_object__for_each_program(program, object) {
    if (!bpf_program__autoload(program)) continue;
    std::string_view name = bpf_program__name(program);
    if (form == HookForm::raw_tp) name.remove_suffix(std::string_view("_raw").size());
    programs_.push_back({std::string(name), bpf_program__fd(program)});
  }
}

void ProbeReport::emit(BatchWriter& out) {
  const Label labels[] = {{"probe", probe_}, {"hook", to_string(form_)}};
  out.set_labels(kProbeMetrics[0], 1, labels);
  const auto enabled = stats_enabled_.read();
  if (enabled && trim(*enabled) == "1") stats_seen_ = true;
  if (!stats_seen_) return;  // once seen the counters stay, or they would look like a restart
  for (const auto& program : programs_) {
    bpf_prog_info info{};
    __u32 size = sizeof info;
    if (bpf_obj_get_info_by_fd(program.fd, &info, &size) != 0) {
      out.problem(from_errno(fmt::format("probe {}: bpf_prog_info of {}", probe_, program.name), errno));
      continue;
    }
    out.set(kProbeMetrics[1], static_cast<double>(info.run_time_ns) / 1e9, probe_, program.name);
    out.set(kProbeMetrics[2], static_cast<double>(info.run_cnt), probe_, program.name);
  }
}

std::string ProbeReport::status() const {
  return note_.empty() ? fmt::format("attached, {}", to_string(form_))
                       : fmt::format("attached, {}, {}", to_string(form_), note_);
}

std::unique_ptr<Collector> probe_off(std::string_view probe, const Error& why) {
  auto off = std::make_unique<OffProbe>(probe, why);
  log::warn(why.text, {{"collector", probe}, {"state", to_string(why.kind)}});
  return off;
}

std::span<const double> hist_bounds() {
  static const auto bounds = [] {
    std::array<double, VITALD_HIST_BOUNDS> b{};
    for (int i = 0; i < VITALD_HIST_BOUNDS; ++i) b[static_cast<std::size_t>(i)] = std::ldexp(1.0, i - 20);
    return b;
  }();
  return bounds;
}

}  // namespace vitald
