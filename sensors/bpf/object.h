// SPDX-License-Identifier: Apache-2.0
// A BPF object: the programs of one kernel subsystem and their maps, loaded once. What it can tell are its signals;
// each is switched on its own, and is a collector with a flag --probe.NAME. Which form of a hook the kernel takes
// (tp_btf, else raw_tp, else none, with the reason) is found out by loading.
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bpf/include/vitald/cost.h"
#include "core/host.h"
#include "core/mutex.h"
#include "core/options.h"
#include "core/os/fd.h"
#include "core/result.h"
#include "sensors/bpf/budget.h"
#include "sensors/bpf/facts.h"
#include "sensors/bpf/maps.h"

namespace vitald {

// The tp_btf program NAME and its twin NAME_raw, on this tracepoint: the only place that names it.
struct ProbeHook {
  enum class Attach : std::uint8_t {
    with_signal,
    later,  // loaded, and attached when needed
    never,  // run by user space
  };
  const char* program;
  const char* tracepoint;
  Attach attach = Attach::with_signal;
  bool (*needed)(const KernelFacts&) = nullptr;  // on this kernel
  int arguments = 0;                             // that the tracepoint has at least, where older kernels' has fewer
  int cost = -1;                                 // its number among the timed programs of its object
  bool of_module = false;                        // of a module, which may come late: only as raw_tp, by its name
};
constexpr ProbeHook timed(int cost, ProbeHook hook) {
  hook.cost = cost;
  return hook;
}

// Of all probes.
inline constexpr FlagSpec kProbeBudgetFlag{
    .name = "bpf.budget",
    .type = FlagType::number,
    .fallback = "1",
    .help =
        "Per cent of one CPU that the programs of all probes may take together. Beyond it probes are turned off, the "
        "least important ones first (vitald_probe_up says so), and tried again later. 0 is no limit.",
    .least = 0,
    .most = 10'000};
inline constexpr FlagSpec kProbeFlags[] = {kProbeBudgetFlag};

// One thing that is on, off or shed.
struct Signal {
  std::string_view name;  // of its collector
  std::uint32_t bit;      // in the object's `wanted` and `enabled`
  std::uint8_t rank;      // what is shed first when programs cost too much: the highest
  std::span<const ProbeHook> hooks;
  // What the kernel needs for a moment to check its programs, measured on Linux 6.18 and some more.
  std::uint64_t load_bytes = 4u << 20;
};

enum class HookForm : std::uint8_t { tp_btf, raw_tp };
std::string_view to_string(HookForm form);

using LinkPtr = Handle<bpf_link, bpf_link__destroy>;
using SharedLink = std::shared_ptr<bpf_link>;

// Whether the user, or the default, has this signal on.
bool is_configured(const Options& options, const Signal& signal);

void set_up_libbpf();

// The half of BpfObject that needs no skeleton.
namespace bpf_detail {
std::vector<ProbeHook> needed_hooks(const KernelFacts& facts, const Signal& signal);
Result<> check(const KernelFacts& facts, const Signal& signal);
bool of_module(std::span<const Signal> signals);
void choose_programs(const KernelFacts& facts, bpf_object* object, std::span<const Signal> signals, HookForm form);
Result<LinkPtr> attach(std::string_view signal, bpf_object* object, const char* program, HookForm form);
Error load_error(std::string_view signal, int err);
// Whether the memory cgroup has room for what the kernel needs to load them.
Result<> check_room(std::span<const Signal> signals);

// The kernel's types for the relocations of one object, in memory. The object is opened with the file's path, then
// tells what it asks for, and reads it when it is loaded.
class TypesFile {
 public:
  static Result<TypesFile> make(std::string_view signal);
  [[nodiscard]] const char* path() const { return path_.c_str(); }
  Result<> fill(const bpf_object* object) const;

 private:
  TypesFile(Fd fd, std::string_view signal);
  Fd fd_;
  std::string signal_, path_;
};

// While one lives, objects that this thread loads find the kernel's tracepoints by these facts.
class Loading {
 public:
  explicit Loading(const KernelFacts& facts);
  ~Loading();
  Loading(const Loading&) = delete;
  Loading& operator=(const Loading&) = delete;
};

// The same for iterators: the kernel's functions bpf_iter_NAME, by NAME.
class LoadingIterators {
 public:
  explicit LoadingIterators(const std::map<std::string, std::uint32_t, std::less<>>& ids);
  ~LoadingIterators();
  LoadingIterators(const LoadingIterators&) = delete;
  LoadingIterators& operator=(const LoadingIterators&) = delete;
};
}  // namespace bpf_detail

template <class Skel>
class BpfObject {
 public:
  // Opens, configures (rodata, sizes, shared maps), loads, prepares (contents of maps) and attaches the first of the
  // signals; all of it twice when the first form does not work. The others are wanted, and attached when their turn
  // comes. Errors name what is missing and what to do.
  template <class Configure, class Prepare>
  static Result<BpfObject> load(const KernelFacts& facts, std::span<const Signal> signals, Configure&& configure,
                                Prepare&& prepare) {
    const auto& first = signals.front();
    if (auto ok = bpf_detail::check(facts, first); !ok) return fail(ok.error());
    if (auto ok = bpf_detail::check_room(signals); !ok) return fail(ok.error());
    std::optional<Error> why;
    for (const auto form : {HookForm::tp_btf, HookForm::raw_tp}) {
      if (form == HookForm::tp_btf && (!facts.tp_btf || bpf_detail::of_module(signals))) continue;
      BpfObject o(facts, form);
      auto types = bpf_detail::TypesFile::make(first.name);
      if (!types) return fail(types.error());
      LIBBPF_OPTS(bpf_object_open_opts, open_options);
      open_options.btf_custom_path = types->path();
      o.skel_.reset(Skel::open(&open_options));
      if (!o.skel_) return fail(from_errno(fmt::format("probe {}: open", first.name), errno));
      for (const auto& signal : signals) o.wanted_ |= signal.bit;
      o.skel_->rodata->wanted = o.wanted_;
      o.skel_->data->enabled = 0;
      bpf_map__set_max_entries(o.skel_->maps.costs,
                               static_cast<__u32>(std::max(1, libbpf_num_possible_cpus())) * VITALD_COSTS);
      if (auto ok = configure(*o.skel_); !ok) return fail(ok.error());
      bpf_detail::choose_programs(facts, o.skel_->obj, signals, form);
      if (auto ok = types->fill(o.skel_->obj); !ok) return fail(ok.error());
      const bpf_detail::Loading loading(facts);
      const int err = Skel::load(o.skel_.get());
      if (err) {
        if (!why) why = bpf_detail::load_error(first.name, -err);
        if (why->kind == Errc::denied) break;
        continue;
      }
      auto costs = MappedArray<vitald_cost>::of(o.skel_->maps.costs);
      if (!costs) return fail(costs.error());
      o.costs_ = std::move(*costs);
      prepare(*o.skel_);
      if (auto ok = o.attach(first); ok) return o;
      else if (!why) why = ok.error();
    }
    return fail(*why);
  }

  // All of its hooks or none. A program that several signals are in is attached once, as long as one of them is.
  Result<> attach(const Signal& signal) {
    std::vector<SharedLink> links;
    for (const auto& hook : bpf_detail::needed_hooks(*facts_, signal)) {
      if (hook.attach != ProbeHook::Attach::with_signal) continue;
      auto& attached = attached_[hook.program];
      auto shared = attached.lock();
      if (!shared) {
        auto link = attach_program(signal, hook.program);
        if (!link) return fail(link.error());
        shared = SharedLink(link->release(), bpf_link__destroy);
        attached = shared;
      }
      links.push_back(std::move(shared));
    }
    links_[signal.bit] = std::move(links);
    skel_->data->enabled |= signal.bit;
    return {};
  }
  void detach(const Signal& signal) {
    skel_->data->enabled &= ~signal.bit;
    links_.erase(signal.bit);
  }
  // Off for a while, but nobody else's: what it costs is too much.
  void pause(const Signal& signal) {
    skel_->data->enabled &= ~signal.bit;
    links_[signal.bit].clear();
  }
  // For hooks that are attached later.
  Result<LinkPtr> attach_program(const Signal& signal, const char* program) const {
    return bpf_detail::attach(signal.name, skel_->obj, program, form_);
  }
  // Per CPU VITALD_COSTS.
  [[nodiscard]] const MappedArray<vitald_cost>& costs() const { return costs_; }
  [[nodiscard]] bool wants(const Signal& signal) const { return (wanted_ & signal.bit) != 0; }
  [[nodiscard]] bool has(const Signal& signal) const { return links_.contains(signal.bit); }
  [[nodiscard]] HookForm form() const { return form_; }
  [[nodiscard]] Skel& skel() const { return *skel_; }

 private:
  struct Destroy {
    void operator()(Skel* skel) const noexcept { Skel::destroy(skel); }
  };
  BpfObject(const KernelFacts& facts, HookForm form) : facts_(&facts), form_(form) {}

  const KernelFacts* facts_;
  HookForm form_;
  std::uint32_t wanted_ = 0;
  std::unique_ptr<Skel, Destroy> skel_;
  MappedArray<vitald_cost> costs_;
  std::map<std::uint32_t, std::vector<SharedLink>> links_;        // by signal
  std::map<std::string_view, std::weak_ptr<bpf_link>> attached_;  // by program
};

// A signal of an object that others may use as well; detached when this goes. `Object` has a member `bpf`, and where
// its programs remember what has begun, forget_past(signal), called before they are attached again; where its size is
// configured, fits(options). Rows keep what was counted: their readers begin with what stands there
// (SlotReader::begin).
template <class Object>
class SignalUse {
 public:
  SignalUse(std::shared_ptr<Object> object, const Signal& signal, ProbeBudget& budget)
      : object_(std::move(object)), signal_(&signal), budget_(&budget) {}
  SignalUse(SignalUse&&) noexcept = default;
  SignalUse& operator=(SignalUse&&) = delete;
  ~SignalUse() {
    if (object_) object_->bpf.detach(*signal_);
  }
  Object* operator->() const { return object_.get(); }
  Object& operator*() const { return *object_; }
  [[nodiscard]] const Signal& signal() const { return *signal_; }
  [[nodiscard]] ProbeBudget& budget() const { return *budget_; }
  // Off for a while, and on again.
  Result<> turn(bool on) const {
    if (!on) return object_->bpf.pause(*signal_), Result<>{};
    if constexpr (requires { object_->forget_past(*signal_); }) object_->forget_past(*signal_);
    return object_->bpf.attach(*signal_);
  }

 private:
  std::shared_ptr<Object> object_;
  const Signal* signal_;
  ProbeBudget* budget_;
};

template <class Object>
struct ObjectsInUse {
  Mutex mutex;
  std::vector<std::weak_ptr<Object>> objects GUARDED_BY(mutex);
};

// The signal `signals[which]` of an object that is loaded already for others, or of a new one, loaded for all signals
// that are configured. `load(signals)` gives the new one; the first of them is attached.
template <class Object, class Load>
Result<SignalUse<Object>> use_signal(const Host& host, const Options& options, std::span<const Signal> signals,
                                     std::size_t which, Load&& load) {
  const auto& signal = signals[which];
  auto& budget = host.shared<ProbeBudget>();
  if (options.spec(kProbeBudgetFlag.name))
    budget.set_limit(static_cast<double>(options.number(kProbeBudgetFlag.name)) / 100);
  auto& shared = host.shared<ObjectsInUse<Object>>();
  const MutexLock lock(shared.mutex);
  std::erase_if(shared.objects, [](const auto& o) { return o.expired(); });
  for (const auto& weak : shared.objects) {
    auto object = weak.lock();
    if (!object || !object->bpf.wants(signal) || object->bpf.has(signal)) continue;
    // After a reload one of another size may still be somebody's.
    if constexpr (requires { object->fits(options); })
      if (!object->fits(options)) continue;
    // It may have been on before: what its programs remember of then is not of now.
    if constexpr (requires { object->forget_past(signal); }) object->forget_past(signal);
    if (auto ok = object->bpf.attach(signal); !ok) return fail(ok.error());
    return SignalUse<Object>(std::move(object), signal, budget);
  }
  std::vector<Signal> wanted = {signal};
  for (const auto& other : signals)
    if (other.bit != signal.bit && is_configured(options, other) &&
        bpf_detail::check(host.shared<KernelFacts>(), other))
      wanted.push_back(other);
  Result<std::shared_ptr<Object>> made = load(std::span<const Signal>(wanted));
  if (!made) return fail(made.error());
  shared.objects.push_back(*made);
  return SignalUse<Object>(std::move(*made), signal, budget);
}

}  // namespace vitald
