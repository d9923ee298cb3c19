// SPDX-License-Identifier: Apache-2.0
// What every BPF probe needs around its skeleton: which form of a hook this kernel takes (tp_btf, else raw_tp, else
// none, with the reason), the maps as plain memory, and how it is going as a metric.
//
// Whether something is there is asked of the running kernel's BTF, never of its version: distributions backport.
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bpf/include/vitald/hist.h"
#include "core/batch.h"
#include "core/collector.h"
#include "core/os/fd.h"
#include "core/os/kernel_file.h"

namespace vitald {

// Every probe's table of metrics starts with these three.
#define VITALD_PROBE_METRICS                                                                                        \
  {"vitald_probe_up", MetricType::gauge,                                                                            \
   "1 where the BPF probe is attached through this hook, 0 where it is off for this reason.", "probe,hook,reason"}, \
      {"vitald_bpf_program_run_seconds_total",                                                                      \
       MetricType::counter,                                                                                         \
       "Time spent in a BPF program; only while kernel.bpf_stats_enabled is 1.",                                    \
       "probe,program",                                                                                             \
       "seconds",                                                                                                   \
       "bpf_prog_info"},                                                                                            \
  {                                                                                                                 \
    "vitald_bpf_program_runs_total", MetricType::counter,                                                           \
        "Runs of a BPF program; only while kernel.bpf_stats_enabled is 1.", "probe,program", "", "bpf_prog_info"    \
  }
inline constexpr MetricDesc kProbeMetrics[] = {VITALD_PROBE_METRICS};

// What the running kernel's BTF says about what our probes use. Parsing it takes 25 ms and 13 MB, so it is done once
// for all and given back.
struct KernelFacts {
  std::string missing;  // why there is no BTF; empty when there is
  std::map<std::string, int, std::less<>> tracepoint_arguments;
  bool keeps_last_queued = false;   // sched_info.last_queued and sched_entity.cfs_rq
  bool trust_request_times = true;  // false: as if no disk's requests came with times
  bool tp_btf = true;               // false makes every probe start at the second rung of the ladder

  [[nodiscard]] bool has(std::string_view tracepoint) const { return tracepoint_arguments.contains(tracepoint); }
  [[nodiscard]] int arguments(std::string_view tracepoint) const;  // without the leading void *; -1: not there
};
const KernelFacts& kernel_facts();
// For tests: what to believe instead, so that every rung is tried on every kernel.
void pretend(const KernelFacts& facts);

// A hook: the tp_btf program NAME and its twin NAME_raw.
struct ProbeHook {
  const char* program;
  const char* tracepoint;
  bool attach = true;  // false: loaded now, attached when needed
};

enum class HookForm : std::uint8_t { tp_btf, raw_tp };
std::string_view to_string(HookForm form);

using LinkPtr = Handle<bpf_link, bpf_link__destroy>;

// The non-template half of load_probe.
namespace probe_detail {
Result<> check(std::string_view probe, std::span<const ProbeHook> hooks);
void choose_programs(bpf_object* object, std::span<const ProbeHook> hooks, HookForm form);
Result<std::vector<LinkPtr>> attach(std::string_view probe, bpf_object* object, std::span<const ProbeHook> hooks,
                                    HookForm form);
Error load_error(std::string_view probe, int err);
void give_back_memory();
}  // namespace probe_detail

// One program of a loaded object, attached. For hooks with attach = false.
Result<LinkPtr> attach_program(std::string_view probe, bpf_object* object, const char* program, HookForm form);

// The array of a BPF_F_MMAPABLE map, read and written without system calls. Lives as long as this, also when the
// map's own descriptor is closed.
template <class T>
class MappedArray {
 public:
  static Result<MappedArray> of(bpf_map* map) {
    MappedArray a;
    a.size_ = bpf_map__max_entries(map);
    void* p = mmap(nullptr, a.bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
    if (p == MAP_FAILED) return fail(from_errno(fmt::format("mmap of BPF map {}", bpf_map__name(map)), errno));
    a.data_.reset(static_cast<T*>(p));
    a.data_.get_deleter().bytes = a.bytes();
    return a;
  }
  T& operator[](std::size_t i) const { return data_.get()[i]; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  struct Unmap {
    std::size_t bytes = 0;
    void operator()(T* p) const noexcept { munmap(p, bytes); }
  };
  static_assert(sizeof(T) % 8 == 0, "the kernel rounds values up to 8 bytes");
  [[nodiscard]] std::size_t bytes() const { return size_ * sizeof(T); }
  std::unique_ptr<T, Unmap> data_;
  std::size_t size_ = 0;
};

template <class Skel>
struct DestroySkeleton {
  void operator()(Skel* skel) const noexcept { Skel::destroy(skel); }
};

template <class Skel>
struct LoadedProbe {
  std::string_view name;
  std::unique_ptr<Skel, DestroySkeleton<Skel>> skel;
  std::vector<LinkPtr> links;
  HookForm form = HookForm::tp_btf;
};

// Opens, configures (rodata, map sizes), loads, prepares (map contents) and attaches; all of it twice when the first
// form does not work. Errors name what is missing and what to do.
template <class Skel, class Configure, class Prepare>
Result<LoadedProbe<Skel>> load_probe(std::string_view name, std::span<const ProbeHook> hooks, Configure&& configure,
                                     Prepare&& prepare) {
  if (auto ok = probe_detail::check(name, hooks); !ok) return fail(ok.error());
  std::optional<Error> first;
  for (const auto form : {HookForm::tp_btf, HookForm::raw_tp}) {
    if (form == HookForm::tp_btf && !kernel_facts().tp_btf) continue;
    LoadedProbe<Skel> probe;
    probe.name = name;
    probe.form = form;
    probe.skel.reset(Skel::open(nullptr));
    if (!probe.skel) return fail(from_errno(fmt::format("probe {}: open", name), errno));
    configure(*probe.skel);
    probe_detail::choose_programs(probe.skel->obj, hooks, form);
    const int err = Skel::load(probe.skel.get());
    probe_detail::give_back_memory();
    if (err) {
      if (!first) first = probe_detail::load_error(name, -err);
      if (first->kind == Errc::denied) break;
      continue;
    }
    prepare(*probe.skel);
    auto links = probe_detail::attach(name, probe.skel->obj, hooks, form);
    if (!links) {
      if (!first) first = links.error();
      continue;
    }
    probe.links = std::move(*links);
    return probe;
  }
  return fail(*first);
}

template <class Skel, class Configure>
Result<LoadedProbe<Skel>> load_probe(std::string_view name, std::span<const ProbeHook> hooks, Configure&& configure) {
  return load_probe<Skel>(name, hooks, configure, [](Skel&) {});
}

// vitald_probe_up and the cost of the programs, for one attached probe.
class ProbeReport {
 public:
  ProbeReport(std::string_view probe, const bpf_object* object, HookForm form);
  void emit(BatchWriter& out);
  [[nodiscard]] std::string status() const;
  void note(std::string text) { note_ = std::move(text); }

 private:
  struct Program {
    std::string name;
    int fd;
  };
  std::string probe_;
  HookForm form_;
  std::string note_;
  std::vector<Program> programs_;
  KernelFile stats_enabled_{"/proc/sys/kernel/bpf_stats_enabled", KernelFile::Read::sysctl};
  bool stats_seen_ = false;
};

// What stands in for a probe that could not be loaded: emits vitald_probe_up 0 with the reason. Logs it.
std::unique_ptr<Collector> probe_off(std::string_view probe, const Error& why);

// Bounds of vitald_hist in seconds.
std::span<const double> hist_bounds();

// Per-CPU histograms added up.
struct HistSum {
  std::array<std::uint64_t, VITALD_HIST_SLOTS> counts{};
  std::uint64_t sum_ns = 0;

  void add(const vitald_hist& h) {
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += h.slots[i];
    sum_ns += h.sum_ns;
  }
  [[nodiscard]] HistogramView view() const { return {hist_bounds(), counts, static_cast<double>(sum_ns) / 1e9}; }
};

}  // namespace vitald
