// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/kvm.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/bpf/module_types.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

constexpr ProbeHook kExitHooks[] = {
    timed(COST_ON_GUEST_EXIT, {.program = "on_guest_exit", .tracepoint = "kvm_exit", .of_module = true}),
    timed(COST_ON_GUEST_ENTRY, {.program = "on_guest_entry", .tracepoint = "kvm_entry", .of_module = true}),
    timed(COST_ON_GUEST_HALT, {.program = "on_guest_halt", .tracepoint = "kvm_vcpu_wakeup", .of_module = true})};
constexpr ProbeHook kHaltHooks[] = {
    timed(COST_ON_GUEST_HALT, {.program = "on_guest_halt", .tracepoint = "kvm_vcpu_wakeup", .of_module = true})};
// A guest may leave a hundred thousand times a second, so it is among the first that go when it is too much.
constexpr Signal kSignals[] = {
    {"guest_exits", VITALD_GUEST_EXITS, 6, kExitHooks, 16u << 20},
    {"guest_halts", VITALD_GUEST_HALTS, 4, kHaltHooks, 16u << 20},
};

struct Vendor {
  std::string_view module;
  std::uint32_t isa;
};
constexpr Vendor kVendors[] = {
    {"kvm_intel", VITALD_ISA_VMX}, {"kvm_amd", VITALD_ISA_SVM}, {"kvm_pvm", VITALD_ISA_OTHER}};

// Loaded, or a part of the kernel.
bool is_there(const Host& host, const Vendor& vendor) {
  return access(host.sysfs(fmt::format("module/{}", vendor.module)).c_str(), F_OK) == 0;
}
// The first that is there; null where KVM is not, or not yet.
const Vendor* vendor_of(const Host& host) {
  const auto* found = std::ranges::find_if(kVendors, [&](const Vendor& v) { return is_there(host, v); });
  return found == std::end(kVendors) ? nullptr : found;
}

std::optional<std::uint64_t> references_of(const Host& host, std::string_view module) {
  const auto text = read_kernel_file(host.sysfs(fmt::format("module/{}/refcnt", module)));
  return text ? parse_u64(trim(*text)) : std::nullopt;
}

bool is_svm_cpu() {
#ifdef __x86_64__
  return __builtin_cpu_is("amd");
#else
  return false;
#endif
}

// Where a virtual CPU has its exit's reason. False: the kernel does not tell. Both vendors may be a part of the kernel;
// each exit says whose it is.
bool place_reason(kvm_bpf& skel, const Host& host) {
  static const MemberPath kPaths[] = {
      {"vcpu_vmx", "vt", "exit_reason"},  // since Linux 6.16
      {"vcpu_vmx", "exit_reason"},       {"vcpu_svm", "vmcb"},
      {"vmcb", "control", "exit_code"},  {"vcpu_pvm", "exit_reason"},
  };
  bool known = false;
  for (const auto& vendor : kVendors) {
    if (!is_there(host, vendor)) continue;
    if (skel.rodata->only_isa == VITALD_ISA_OTHER || is_svm_cpu()) skel.rodata->only_isa = vendor.isa;
    const auto found = member_offsets(vendor.module, kPaths);
    if (!found) continue;
    const auto at = [&](std::size_t path) { return static_cast<std::int32_t>((*found)[path].value_or(0)); };
    skel.rodata->vmx_reason = std::max({skel.rodata->vmx_reason, at(0), at(1)});
    if (at(2) != 0 && at(3) != 0) skel.rodata->svm_block = at(2), skel.rodata->svm_reason = at(3);
    skel.rodata->other_reason = std::max(skel.rodata->other_reason, at(4));
    known = skel.rodata->vmx_reason != 0 || skel.rodata->svm_block != 0 || skel.rodata->other_reason != 0;
  }
  return known;
}

// A signal's totals per owner, from the rows of guests.
class GuestReader final : public SlotReader {
 public:
  explicit GuestReader(KvmObject& object) : object_(object), totals_(object.owners->table()) {
    object_.owners->slots().add(*this);
  }
  ~GuestReader() override { object_.owners->slots().remove(*this); }
  GuestReader(const GuestReader&) = delete;
  GuestReader& operator=(const GuestReader&) = delete;

  bool read(std::uint32_t slot, OwnerId owner) override {
    bool any = false;
    for (const auto guest : object_.guests_of(slot)) {
      auto& before = before_of(guest);
      const auto now = object_.rows.sum(guest), grown = GuestTotals::difference(now, before);
      before = now;
      if (std::bit_cast<GuestTotals::Counters>(grown) == GuestTotals::Counters{}) continue;
      totals_.add(owner, grown);
      any = true;
    }
    return any;
  }
  // Of slot 0, which is the first one, with all numbers that guests had: they will have them again.
  void begin(std::uint32_t slot) override {
    if (slot == 0)
      for (std::uint32_t guest = 0; guest <= object_.seen; ++guest) before_of(guest) = object_.rows.sum(guest);
    else
      for (const auto guest : object_.guests_of(slot)) before_of(guest) = object_.rows.sum(guest);
  }
  [[nodiscard]] bool worth_an_owner(std::uint32_t slot) const override { return !object_.guests_of(slot).empty(); }
  void end(std::span<const std::uint32_t> slots) override { object_.end_guests_of(slots); }
  void ended(std::span<const std::uint32_t>) override { object_.free_ended(); }
  template <class Show>
  void round(Show&& show) {
    auto& slots = object_.owners->slots();
    slots.cycle(had_);
    slots.read_all(*this, [&] {
      totals_.begin_round();
      totals_.end_round();
      show(totals_.entries());
    });
  }

 private:
  vitald_guest_row& before_of(std::uint32_t guest) {
    if (guest >= before_.size()) before_.resize(guest + 1);  // the lowest are used first
    return before_[guest];
  }
  KvmObject& object_;
  GuestTotals totals_;                    // under the slots' lock
  std::vector<vitald_guest_row> before_;  // by guest; the same
  std::uint64_t had_ = 0;
};

class KvmProbe final : public Collector {
 public:
  KvmProbe(const Host& host, Options options, KvmSignal which, EmitGuests emit)
      : host_(host), options_(std::move(options)), which_(which), emit_(emit) {}

  Result<> collect(BatchWriter& out) override {
    if (auto ok = follow(); !ok) return ok;
    if (off_) return off_->collect(out);
    if (!in_use_) return {};  // no guest yet
    if (!in_use_->report.emit(out)) return {};
    in_use_->totals.round([&](auto entries) { emit_(*in_use_->object, entries, out); });
    return {};
  }
  std::string status() const override {
    if (off_) return off_->status();
    if (in_use_) return in_use_->report.status();
    return vendor_ ? "waiting for the first guest: nobody has KVM open"
                   : "waiting for KVM: none of kvm_intel and kvm_amd is loaded";
  }

  // What a module that is in use has attached to it keeps its tracepoints, so they go when the vendor's module does.
  Result<> follow() {
    // While one is there, the others are looked for only when the kernel may have loaded one.
    const bool stays = vendor_ && !modules_.changed() && is_there(host_, *vendor_);
    const auto* vendor = stays ? vendor_ : vendor_of(host_);
    if (vendor != vendor_) in_use_.reset(), off_.reset();
    vendor_ = vendor;
    if (!vendor_) return fail(Errc::absent, fmt::format("probe {}: no KVM here (kvm_intel, kvm_amd)", name()));
    if (in_use_ || off_ || !kvm_in_use(host_, vendor_->module)) return {};
    auto object = KvmObject::use(host_, options_, which_);
    if (!object) off_ = probe_off(name(), object.error());
    else in_use_ = std::make_unique<InUse>(host_, std::move(*object));
    return {};
  }

 private:
  struct InUse {
    InUse(const Host& host, SignalUse<KvmObject> use)
        : object(std::move(use)), report(object.signal().name, object->bpf.form()), totals(*object) {
      report.watch(host.shared<KernelFacts>(), object);
      object->owners->watch(host.shared<KernelFacts>(), report);
      if (!object->knows_reasons) report.note("reasons not known: the kernel has no types of KVM's module");
    }
    SignalUse<KvmObject> object;
    ProbeReport report;
    GuestReader totals;
  };
  [[nodiscard]] std::string_view name() const { return kSignals[which_].name; }

  const Host& host_;
  const Options options_;
  const KvmSignal which_;
  const EmitGuests emit_;
  const Vendor* vendor_ = nullptr;
  DeviceWatch modules_{host_.sysfs("module")};
  std::unique_ptr<InUse> in_use_;
  std::unique_ptr<Collector> off_;
};

}  // namespace

bool kvm_in_use(const Host& host, std::string_view vendor) {
  const auto references = references_of(host, vendor);
  if (!references || *references > 0) return true;
  // Each module that needs kvm is a reference, too.
  const auto of_kvm = references_of(host, "kvm");
  const auto holders = list_directory(host.sysfs("module/kvm/holders"));
  return of_kvm && holders && *of_kvm > holders->size();
}

std::span<const Signal> kvm_signals() { return kSignals; }

Result<SignalUse<KvmObject>> KvmObject::use(const Host& host, const Options& options, KvmSignal which) {
  return use_signal<KvmObject>(
      host, options, kSignals, which, [&](std::span<const Signal> signals) -> Result<std::shared_ptr<KvmObject>> {
        const auto& facts = host.shared<KernelFacts>();
        if (auto ok = bpf_detail::check(facts, signals.front()); !ok) return fail(ok.error());
        if (!vendor_of(host)) return fail(Errc::absent, fmt::format("probe {}: no KVM here", signals.front().name));
        auto table = BpfOwners::of(host, options, signals.front().name);
        if (!table) return fail(table.error());
        bool knows = false;
        const auto cpus = static_cast<__u32>(std::max(1, libbpf_num_possible_cpus()));
        std::vector<Signal> sized(signals.begin(), signals.end());  // with the largest of its maps
        for (auto& signal : sized) signal.load_bytes += std::uint64_t{VITALD_GUESTS} * cpus * sizeof(vitald_guest_row);
        auto loaded = BpfObject<kvm_bpf>::load(
            facts, sized,
            [&](kvm_bpf& skel) -> Result<> {
              bpf_map__set_max_entries(skel.maps.rows, VITALD_GUESTS * cpus);
              skel.rodata->guest_cpus = cpus;
              bpf_map__set_max_entries(skel.maps.guest_of_slot, (*table)->size());
              bpf_map__set_max_entries(skel.maps.exits, lru_entries(4096));
              knows = place_reason(skel, host);
              return (*table)->share_with(skel);
            },
            [](kvm_bpf& skel) {
              for (__u32 guest = VITALD_GUESTS - 1; guest > 0; --guest)
                bpf_map_update_elem(bpf_map__fd(skel.maps.free_guests), nullptr, &guest, 0);
              for (__u32 number = VITALD_EXIT_REASONS - 1; number > 0; --number)
                bpf_map_update_elem(bpf_map__fd(skel.maps.free_numbers), nullptr, &number, 0);
            });
        if (!loaded) return fail(loaded.error());
        const auto& maps = loaded->skel().maps;
        auto mapped_rows = GuestRows::of(maps.rows, cpus);
        auto mapped_guests = MappedArray<std::uint64_t>::of(maps.guest_of_slot);
        auto mapped_slots = MappedArray<std::uint64_t>::of(maps.slot_of_guest);
        auto mapped_reasons = MappedArray<vitald_exit_reason>::of(maps.reasons);
        if (!mapped_rows) return fail(mapped_rows.error());
        for (const auto* map : {&mapped_guests, &mapped_slots})
          if (!*map) return fail(map->error());
        if (!mapped_reasons) return fail(mapped_reasons.error());
        return std::make_shared<KvmObject>(KvmObject{std::move(*table), std::move(*loaded), std::move(*mapped_rows),
                                                     std::move(*mapped_guests), std::move(*mapped_slots),
                                                     std::move(*mapped_reasons), knows});
      });
}

Result<GuestRows> GuestRows::of(bpf_map* map, std::uint32_t cpus) {
  GuestRows rows(bpf_map__fd(map), cpus);
  if (auto ok = rows.map(0); !ok) return fail(ok.error());
  return rows;
}

Result<> GuestRows::map(std::uint32_t guest) {
  auto& window = windows_[guest];
  if (window.rows) return {};
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), size = cpus_ * sizeof(vitald_guest_row);
  const auto begin = guest * size, first = begin / page * page;
  const auto bytes = (begin + size + page - 1) / page * page - first;
  void* p = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, map_, static_cast<off_t>(first));
  if (p == MAP_FAILED) return fail(from_errno("mmap of a guest's rows", errno));
  window.pages = Pages(p, Unmap{bytes});
  window.rows = reinterpret_cast<const vitald_guest_row*>(static_cast<const std::byte*>(p) + (begin - first));
  return {};
}

vitald_guest_row GuestRows::sum(std::uint32_t guest) {
  const bool mapped = map(guest).has_value();
  vitald_guest_row all{};
  for (std::uint32_t cpu = 0; cpu < cpus_; ++cpu) {
    vitald_guest_row row{};
    const auto at = guest * cpus_ + cpu;
    if (mapped) row = windows_[guest].rows[cpu];
    else bpf_map_lookup_elem(map_, &at, &row);  // slower: no memory to map it
    all = GuestTotals::sum(all, row);
  }
  return all;
}

std::vector<std::uint32_t> KvmObject::guests_of(std::uint32_t slot) {
  if (slot == 0) return {0};
  std::vector<std::uint32_t> found;
  for (const auto& e : ended)
    if (e.slot == slot) found.push_back(e.guest);
  if (now_in(guest_of_slot[slot]) == 0) return found;
  for (std::uint32_t guest = 1; guest < VITALD_GUESTS; ++guest)
    if (now_in(slot_of_guest[guest]) == slot) found.push_back(guest), seen = std::max(seen, guest);
  return found;
}

// Who still counts in such a slot, as a virtual CPU that runs on under another owner's, makes another guest of it: that
// is then whose the slot will be.
void KvmObject::end_guests_of(std::span<const std::uint32_t> slots) {
  if (!ended.empty()) return;
  for (const auto slot : slots) {
    const auto guests = guests_of(slot);
    guest_of_slot[slot] = 0;
    for (const auto guest : guests) {
      slot_of_guest[guest] = 0;
      ended.push_back({slot, guest});
    }
  }
}

void KvmObject::free_ended() {
  for (const auto& e : ended) bpf_map_update_elem(bpf_map__fd(bpf.skel().maps.free_guests), nullptr, &e.guest, 0);
  ended.clear();
}

Result<std::unique_ptr<Collector>> make_kvm(const Host& host, const Options& options, KvmSignal which,
                                            EmitGuests emit) {
  if (!host.view().kernel)
    return fail(Errc::absent, fmt::format("probe {}: only on the running system", kSignals[which].name));
#ifndef __x86_64__
  return probe_off(
      kSignals[which].name,
      {Errc::absent, 0, fmt::format("probe {}: this kernel's KVM is not that of x86", kSignals[which].name)});
#endif
  auto probe = std::make_unique<KvmProbe>(host, options, which, emit);
  // Loaded now where KVM is there: later a cycle would wait for it. Where it is not, that is said by collect().
  (void)probe->follow();
  return probe;
}

}  // namespace vitald
