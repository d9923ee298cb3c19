// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/facts.h"

#include <bpf/btf.h>

#include <algorithm>
#include <unordered_map>

#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/bpf/kernel_btf.h"
#include "sensors/bpf/object.h"

namespace vitald {
namespace {

// FNV-1a.
std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

// The name of one type or member, as types and members give it; 0: there is none.
struct Name {
  std::string_view text;
  std::uint32_t at = 0;
};

bool has_member(const btf_type& type, const Name& member) {
  const auto* m = btf_members(&type);
  return member.at != 0 && std::any_of(m, m + btf_vlen(&type), [&](const auto& x) { return x.name_off == member.at; });
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
  if (auto read = read_kernel(); !read) {
    missing = read.error().text;
    const auto kind = read.error().kind;  // no descriptor or memory was left: says nothing about the kernel
    missing_kind = kind == Errc::denied || kind == Errc::io ? kind : Errc::absent;
  }
}

Result<> KernelFacts::read_kernel() {
  auto kernel = KernelBtf::open();
  if (!kernel) return fail(kernel.error());
  // An enumerator is found by its name alone: that of requests' flags had none for its enum until 6.13 or so, and then
  // CO-RE does not find it.
  Name flush{"__RQF_FLUSH_SEQ"}, info{"sched_info"}, queued{"last_queued"}, entity{"sched_entity"}, cfs{"cfs_rq"};
  std::unordered_map<std::uint32_t, std::uint64_t> traced;  // hash of NAME, by where btf_trace_NAME lies
  auto read = kernel->names([&](std::uint32_t at, std::string_view name) {
    for (auto* known : {&flush, &info, &queued, &entity, &cfs})
      if (name == known->text) known->at = at;
    if (take_prefix(name, "btf_trace_")) traced.emplace(at, hash_of(name));
  });
  if (!read) return read;
  // typedef void (*btf_trace_NAME)(void *, arguments...)
  std::vector<std::pair<std::uint32_t, Tracepoint>> pointers;
  bool has_queued = false, has_cfs = false;
  read = kernel->types([&](std::uint32_t id, const btf_type& type) {
    if (btf_is_typedef(&type)) {
      if (const auto it = traced.find(type.name_off); it != traced.end())
        pointers.push_back({type.type, {it->second, id, 0}});
    } else if (btf_is_enum(&type) && flush.at != 0) {
      const auto* values = btf_enum(&type);
      for (int i = 0; i < btf_vlen(&type); ++i)
        if (values[i].name_off == flush.at && static_cast<std::uint32_t>(values[i].val) < 32)
          flush_step = 1u << values[i].val;
    } else if (btf_is_struct(&type)) {
      if (info.at != 0 && type.name_off == info.at) has_queued |= has_member(type, queued);
      if (entity.at != 0 && type.name_off == entity.at) has_cfs |= has_member(type, cfs);
    }
  });
  if (!read) return read;
  for (auto& [pointer, tracepoint] : pointers) {
    const auto* to = kernel->type(pointer);
    const auto* function = to ? kernel->type(to->type) : nullptr;
    if (!function) continue;
    tracepoint.arguments = static_cast<int>(btf_vlen(function)) - 1;
    tracepoints_.push_back(tracepoint);
  }
  std::ranges::sort(tracepoints_, {}, &Tracepoint::hash);
  tracepoints_.shrink_to_fit();
  keeps_last_queued = has_queued && has_cfs && sched_info_is_on();
  return {};
}

const KernelFacts::Tracepoint* KernelFacts::find(std::string_view tracepoint) const {
  const auto it = std::ranges::lower_bound(tracepoints_, hash_of(tracepoint), {}, &Tracepoint::hash);
  return it == tracepoints_.end() || it->hash != hash_of(tracepoint) ? nullptr : &*it;
}

int KernelFacts::arguments(std::string_view tracepoint) const {
  const auto* found = find(tracepoint);
  return found ? found->arguments : -1;
}

std::uint32_t KernelFacts::btf_id(std::string_view tracepoint) const {
  const auto* found = find(tracepoint);
  return found ? found->id : 0;
}

void KernelFacts::forget(std::string_view tracepoint) {
  std::erase_if(tracepoints_, [&](const auto& t) { return t.hash == hash_of(tracepoint); });
}

}  // namespace vitald
