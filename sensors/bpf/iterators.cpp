// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/iterators.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "sensors/bpf/kernel_btf.h"

namespace vitald {
namespace {

// bpf_iter_NAME is a function of the kernel's types for each iterator that it has.
constexpr std::string_view kIterators[] = {"bpf_iter_bpf_map", "bpf_iter_bpf_prog", "bpf_iter_task_file"};

Result<Fd> link_of(const bpf_program* program, std::string_view probe) {
  Fd link(bpf_link_create(bpf_program__fd(program), 0, BPF_TRACE_ITER, nullptr));
  if (!link)
    return fail(from_errno(fmt::format("probe {}: the iterator {}", probe, bpf_program__name(program)), errno));
  return link;
}

}  // namespace

Result<std::map<std::string, std::uint32_t, std::less<>>> iterator_ids(std::span<const std::string_view> functions) {
  auto kernel = KernelBtf::open();
  if (!kernel) return fail(kernel.error());
  std::map<std::uint32_t, std::string> by_place;
  auto ok = kernel->names([&](std::uint32_t at, std::string_view name) {
    if (std::ranges::find(functions, name) != functions.end()) by_place.emplace(at, name);
  });
  if (!ok) return fail(ok.error());
  std::map<std::string, std::uint32_t, std::less<>> ids;
  ok = kernel->types([&](std::uint32_t id, const btf_type& type) {
    if (!btf_is_func(&type)) return;
    if (const auto it = by_place.find(type.name_off); it != by_place.end())
      ids.emplace(it->second.substr(std::string_view("bpf_iter_").size()), id);
  });
  if (!ok) return fail(ok.error());
  return ids;
}

Result<BpfInventory> BpfInventory::load(const KernelFacts& facts, const Signal& signal) {
  if (auto ok = bpf_detail::check(facts, signal); !ok) return fail(ok.error());
  if (auto ok = bpf_detail::check_room(std::span(&signal, 1)); !ok) return fail(ok.error());
  const auto ids = iterator_ids(kIterators);
  if (!ids) return fail(ids.error());
  if (ids->size() != std::size(kIterators))
    return fail(Errc::absent, fmt::format("probe {}: this kernel has no iterators of BPF programs and open files (from "
                                          "Linux 5.9)",
                                          signal.name));
  auto types = bpf_detail::TypesFile::make(signal.name);
  if (!types) return fail(types.error());
  LIBBPF_OPTS(bpf_object_open_opts, open_options);
  open_options.btf_custom_path = types->path();
  BpfInventory made;
  made.skel_.reset(programs_bpf::open(&open_options));
  if (!made.skel_) return fail(from_errno(fmt::format("probe {}: open", signal.name), errno));
  auto& skel = *made.skel_;
  const auto cpus = libbpf_num_possible_cpus();
  skel.rodata->cpus = static_cast<__u32>(std::max(1, cpus));
  // The type of a program that iterators are, libbpf has no answer for; what has one helper has them all.
  skel.rodata->counts_runs =
      cpus <= static_cast<int>(std::size(skel.bss->offsets)) &&
      libbpf_probe_bpf_helper(BPF_PROG_TYPE_KPROBE, BPF_FUNC_map_lookup_percpu_elem, nullptr) == 1;
  if (auto ok = types->fill(skel.obj); !ok) return fail(ok.error());
  {
    const bpf_detail::LoadingIterators loading(*ids);
    if (const int err = programs_bpf::load(&skel); err != 0) return fail(bpf_detail::load_error(signal.name, -err));
  }
  for (auto [link, program] :
       {std::pair{&made.programs_, skel.progs.each_program}, std::pair{&made.maps_, skel.progs.each_map},
        std::pair{&made.files_, skel.progs.each_file}}) {
    auto created = link_of(program, signal.name);
    if (!created) return fail(created.error());
    *link = std::move(*created);
  }
  bpf_map_info info{};
  __u32 size = sizeof info;
  if (bpf_obj_get_info_by_fd(bpf_map__fd(skel.maps.here), &info, &size) == 0) skel.bss->here_id = info.id;
  skel.bss->known_program = static_cast<__u32>(bpf_program__fd(skel.progs.each_program));
  skel.bss->known_map = static_cast<__u32>(bpf_map__fd(skel.maps.here));
  skel.bss->known_link = static_cast<__u32>(made.programs_.get());
  // Once for what they learn.
  if (auto maps = made.maps(); !maps) return fail(maps.error());
  if (auto files = made.holders(); !files) return fail(files.error());
  return made;
}

std::uint32_t BpfInventory::reader() const { return skel_->bss->reader; }

bool BpfInventory::counts_runs() const { return skel_->bss->offsets_known != 0; }

template <class Record>
Result<std::vector<Record>> BpfInventory::read(const Fd& link) {
  const Fd file(bpf_iter_create(link.get()));
  if (!file) return fail(from_errno("a BPF iterator", errno));
  std::vector<Record> all;
  std::vector<char> bytes(8 * 4096);
  std::size_t filled = 0;
  for (;;) {
    const auto n = ::read(file.get(), bytes.data() + filled, bytes.size() - filled);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return fail(from_errno("reading a BPF iterator", errno));
    if (n == 0) break;
    filled += static_cast<std::size_t>(n);
    std::size_t at = 0;
    for (; filled - at >= sizeof(Record); at += sizeof(Record)) {
      all.emplace_back();
      std::memcpy(&all.back(), bytes.data() + at, sizeof(Record));
    }
    std::memmove(bytes.data(), bytes.data() + at, filled - at);
    filled -= at;
  }
  return all;
}

Result<std::vector<vitald_bpf_program>> BpfInventory::programs() const { return read<vitald_bpf_program>(programs_); }
Result<std::vector<vitald_bpf_map>> BpfInventory::maps() const { return read<vitald_bpf_map>(maps_); }
Result<std::vector<vitald_bpf_holder>> BpfInventory::holders() const { return read<vitald_bpf_holder>(files_); }

}  // namespace vitald
