// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/object.h"

#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>

#include "core/log.h"
#include "core/os/privileges.h"
#include "core/text/scan.h"
#include "sensors/bpf/kernel_btf.h"
#include "sensors/bpf/room.h"

namespace vitald {
namespace {

// The last complaint of libbpf on this thread, for the reason text. libbpf writes whole lines; a verifier log
// comes as one call of many lines, its end says what was wrong.
thread_local std::array<char, 300> complaint{};  // ended by a NUL

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
  if (level == LIBBPF_WARN) complaint[text.copy(complaint.data(), complaint.size() - 1)] = '\0';
  return n;
}

thread_local const KernelFacts* loading_with = nullptr;

int name_tracepoint(bpf_program* program, bpf_prog_load_opts* options, long) {
  std::string_view name = bpf_program__section_name(program);
  take_until(name, '/');
  const auto id = loading_with ? loading_with->btf_id(name) : 0;
  if (id == 0) return -ENOENT;
  options->expected_attach_type = BPF_TRACE_RAW_TP;
  options->attach_btf_id = id;
  return bpf_program__set_type(program, BPF_PROG_TYPE_TRACING);
}

thread_local const std::map<std::string, std::uint32_t, std::less<>>* iterators = nullptr;

int name_iterator(bpf_program* program, bpf_prog_load_opts* options, long) {
  std::string_view name = bpf_program__section_name(program);
  take_until(name, '/');
  if (!iterators || !iterators->contains(name)) return -ENOENT;
  options->expected_attach_type = BPF_TRACE_ITER;
  options->attach_btf_id = iterators->find(name)->second;
  return bpf_program__set_type(program, BPF_PROG_TYPE_TRACING);
}

bool may_trace() { return has_capability(CAP_SYS_ADMIN) || (has_capability(CAP_BPF) && has_capability(CAP_PERFMON)); }

bool filtered() { return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == SECCOMP_MODE_FILTER; }

// The default profiles of container runtimes allow bpf(2) with CAP_BPF since 2022 (containerd 1.6.9, Docker 23), with
// CAP_SYS_ADMIN alone before.
Error filter_error(std::string_view signal, int err) {
  return {Errc::denied, err,
          fmt::format("probe {}: the kernel refused to load it ({}) below a seccomp filter: it must allow bpf and "
                      "perf_event_open (a pod's seccompProfile, a unit's SystemCallFilter=)",
                      signal, err == ENOSYS ? "ENOSYS" : "EPERM")};
}

std::string program_name(const char* program, HookForm form) {
  return form == HookForm::tp_btf ? program : fmt::format("{}_raw", program);
}

}  // namespace

void set_up_libbpf() {
  static const bool once = [] {
    libbpf_set_print(print);
    // libbpf would parse all of the kernel's types to find one tracepoint's. So it takes a tp_btf program for a plain
    // one, until the moment it is loaded.
    LIBBPF_OPTS(libbpf_prog_handler_opts, handler);
    handler.prog_prepare_load_fn = name_tracepoint;
    libbpf_register_prog_handler("tp_btf+", BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_TRACE_RAW_TP, &handler);
    handler.prog_prepare_load_fn = name_iterator;
    libbpf_register_prog_handler("iter+", BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_TRACE_ITER, &handler);
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

std::string_view to_string(HookForm form) { return form == HookForm::tp_btf ? "tp_btf" : "raw_tp"; }

bool is_configured(const Options& options, const Signal& signal) {
  const auto flag = fmt::format("probe.{}", signal.name);
  if (!options.spec(flag)) return false;
  if (options.given(flag)) return options.flag(flag);
  return !options.spec("collector.disable-defaults") || !options.flag("collector.disable-defaults");
}

namespace bpf_detail {

std::vector<ProbeHook> needed_hooks(const KernelFacts& facts, const Signal& signal) {
  std::vector<ProbeHook> hooks;
  std::ranges::copy_if(signal.hooks, std::back_inserter(hooks),
                       [&](const ProbeHook& h) { return !h.needed || h.needed(facts); });
  return hooks;
}

Result<> check(const KernelFacts& facts, const Signal& signal) {
  if (!facts.missing.empty() && facts.missing_kind == Errc::io)
    return fail(Errc::io,
                fmt::format("probe {}: the BTF of the running kernel cannot be read ({})", signal.name, facts.missing));
  if (!facts.missing.empty())
    return fail(facts.missing_kind,
                fmt::format("probe {}: no BTF of the running kernel ({}): needs a kernel built with "
                            "CONFIG_DEBUG_INFO_BTF=y and a readable /sys/kernel/btf",
                            signal.name, facts.missing));
  for (const auto& hook : needed_hooks(facts, signal))
    if (hook.of_module) continue;  // that it is there is seen when it is attached
    else if (!facts.has(hook.tracepoint))
      return fail(Errc::absent,
                  fmt::format("probe {}: this kernel has no tracepoint {}", signal.name, hook.tracepoint));
    else if (const auto has = facts.arguments(hook.tracepoint); has < hook.arguments)
      return fail(Errc::absent,
                  fmt::format("probe {}: this kernel's tracepoint {} says too little ({} arguments, {} are needed)",
                              signal.name, hook.tracepoint, has, hook.arguments));
  return {};
}

bool of_module(std::span<const Signal> signals) {
  return std::ranges::any_of(signals,
                             [](const Signal& s) { return std::ranges::any_of(s.hooks, &ProbeHook::of_module); });
}

void choose_programs(const KernelFacts& facts, bpf_object* object, std::span<const Signal> signals, HookForm form) {
  std::vector<std::string> wanted;
  for (const auto& signal : signals)
    for (const auto& hook : needed_hooks(facts, signal)) wanted.push_back(program_name(hook.program, form));
  bpf_program* program;
  bpf_object__for_each_program(program, object) {
    bpf_program__set_autoload(program, std::ranges::find(wanted, bpf_program__name(program)) != wanted.end());
  }
  complaint[0] = '\0';
}

Result<LinkPtr> attach(std::string_view signal, bpf_object* object, const char* program, HookForm form) {
  const auto name = program_name(program, form);
  auto* found = bpf_object__find_program_by_name(object, name.c_str());
  if (!found) return fail(Errc::absent, fmt::format("probe {}: no program {}", signal, name));
  LinkPtr link(form == HookForm::tp_btf ? bpf_program__attach_trace(found) : bpf_program__attach(found));
  if (!link) return fail(from_errno(fmt::format("probe {}: attach {}", signal, name), errno));
  return link;
}

Error load_error(std::string_view signal, int err) {
  if (err == EPERM || err == EACCES) {
    if (!may_trace())
      return {Errc::denied, err,
              fmt::format("probe {}: the kernel refused to load it (EPERM): CAP_BPF and CAP_PERFMON are needed "
                          "(CAP_SYS_ADMIN before Linux 5.8). Grant both, or turn it off with --no-probe.{}",
                          signal, signal)};
    if (filtered()) return filter_error(signal, err);
    rlimit limit{};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (err == EPERM) {
      auto text = fmt::format(
          "probe {}: the kernel refused to load it (EPERM) though the capabilities are there: they do not count in a "
          "user "
          "namespace, and seccomp or lockdown=confidentiality may forbid it",
          signal);
      if (limit.rlim_cur != RLIM_INFINITY)
        text += fmt::format(
            "; before Linux 5.11 its maps count against RLIMIT_MEMLOCK, {} bytes here: set "
            "LimitMEMLOCK=infinity, or lower --owner.limit",
            limit.rlim_cur);
      return {Errc::denied, err, std::move(text)};
    }
  }
  if (err == ENOSYS && filtered()) return filter_error(signal, err);
  auto e = from_errno(fmt::format("probe {}: load", signal), err);
  if (complaint[0] != '\0') e.text += fmt::format(" [{}]", complaint.data());
  return e;
}

Result<> check_room(std::span<const Signal> signals) {
  const auto room = memory_room();
  if (!room) return {};
  const auto needed = std::ranges::max(signals, {}, &Signal::load_bytes).load_bytes;
  if (room->bytes >= needed) return {};
  const auto& signal = signals.front();
  return fail(
      Errc::io,
      fmt::format("probe {}: the kernel needs some {} MiB for a moment to check it, and the memory cgroup has {} of "
                  "{} MiB left: raise MemoryMax= or the container's limit, or turn it off with --no-probe.{}",
                  signal.name, needed >> 20, room->bytes >> 20, room->limit_bytes >> 20, signal.name));
}

TypesFile::TypesFile(Fd fd, std::string_view signal)
    : fd_(std::move(fd)), signal_(signal), path_(fmt::format("/proc/self/fd/{}", fd_.get())) {}

Result<TypesFile> TypesFile::make(std::string_view signal) {
  Fd fd(memfd_create("kernel types", MFD_CLOEXEC));
  if (!fd) return fail(from_errno(fmt::format("probe {}: memfd_create", signal), errno));
  return TypesFile(std::move(fd), signal);
}

Result<> TypesFile::fill(const bpf_object* object) const {
  auto kernel = KernelBtf::open();
  if (!kernel) return fail(kernel.error());
  const auto types = types_for(bpf_object__btf(object), *kernel);
  if (!types) return fail(types.error());
  for (std::string_view rest = *types; !rest.empty();) {
    const auto n = ::write(fd_.get(), rest.data(), rest.size());
    if (n < 0) return fail(from_errno(fmt::format("probe {}: types in memory", signal_), errno));
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Loading::Loading(const KernelFacts& facts) { loading_with = &facts; }
Loading::~Loading() { loading_with = nullptr; }

LoadingIterators::LoadingIterators(const std::map<std::string, std::uint32_t, std::less<>>& ids) { iterators = &ids; }
LoadingIterators::~LoadingIterators() { iterators = nullptr; }

}  // namespace bpf_detail

}  // namespace vitald
