// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/facts.h"

#include <bpf/btf.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/bpf/object.h"

namespace vitald {
namespace {

struct FreeBtf {
  void operator()(btf* b) const noexcept { btf__free(b); }
};

// FNV-1a.
std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

bool has_field(const btf* b, const char* type, std::string_view field) {
  const auto id = btf__find_by_name_kind(b, type, BTF_KIND_STRUCT);
  if (id < 0) return false;
  const auto* t = btf__type_by_id(b, static_cast<__u32>(id));
  const auto* m = btf_members(t);
  return std::any_of(m, m + btf_vlen(t),
                     [&](const btf_member& x) { return field == btf__name_by_offset(b, x.name_off); });
}

// typedef void (*btf_trace_NAME)(void *, arguments...)
std::vector<std::pair<std::uint64_t, int>> tracepoints_of(const btf* b) {
  std::vector<std::pair<std::uint64_t, int>> all;
  for (__u32 id = 1; id < btf__type_cnt(b); ++id) {
    const auto* type = btf__type_by_id(b, id);
    if (!btf_is_typedef(type)) continue;
    std::string_view name = btf__name_by_offset(b, type->name_off);
    if (!take_prefix(name, "btf_trace_")) continue;
    const auto* pointer = btf__type_by_id(b, type->type);
    all.emplace_back(hash_of(name), btf_vlen(btf__type_by_id(b, pointer->type)) - 1);
  }
  std::ranges::sort(all);
  all.shrink_to_fit();
  return all;
}

// An enumerator by its name alone: that of requests' flags had none for its enum until 6.13 or so, and then CO-RE does
// not find it.
std::optional<std::uint32_t> enumerator(const btf* b, std::string_view name) {
  for (__u32 id = 1; id < btf__type_cnt(b); ++id) {
    const auto* type = btf__type_by_id(b, id);
    if (!btf_is_enum(type)) continue;
    const auto* values = btf_enum(type);
    for (int i = 0; i < btf_vlen(type); ++i)
      if (name == btf__name_by_offset(b, values[i].name_off)) return static_cast<std::uint32_t>(values[i].val);
  }
  return std::nullopt;
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

}  // namespace

KernelFacts::KernelFacts(const Host& host) {
  if (!host.view().kernel) {
    missing = "not the running system";
    return;
  }
  set_up_libbpf();
  if (access("/sys/kernel/btf/vmlinux", R_OK) != 0) {
    missing = from_errno("/sys/kernel/btf/vmlinux", errno).text;
    return;
  }
  if (const std::unique_ptr<btf, FreeBtf> b(btf__load_vmlinux_btf()); b) {
    tracepoints_ = tracepoints_of(b.get());
    if (const auto bit = enumerator(b.get(), "__RQF_FLUSH_SEQ"); bit && *bit < 32) flush_step = 1u << *bit;
    keeps_last_queued = has_field(b.get(), "sched_info", "last_queued") &&
                        has_field(b.get(), "sched_entity", "cfs_rq") && sched_info_is_on();
  } else {
    missing = from_errno("/sys/kernel/btf/vmlinux", errno).text;
  }
  malloc_trim(0);
}

int KernelFacts::arguments(std::string_view tracepoint) const {
  const auto it = std::ranges::lower_bound(tracepoints_, std::pair(hash_of(tracepoint), -1));
  return it == tracepoints_.end() || it->first != hash_of(tracepoint) ? -1 : it->second;
}

void KernelFacts::forget(std::string_view tracepoint) {
  std::erase_if(tracepoints_, [&](const auto& t) { return t.first == hash_of(tracepoint); });
}

}  // namespace vitald
