// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/cgroup_iterator.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <cerrno>
#include <cmath>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "bpf/cgroups.skel.h"
#include "bpf/include/vitald/cgroups.h"
#include "core/os/fd.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/bpf/facts.h"
#include "sensors/bpf/iterators.h"
#include "sensors/bpf/maps.h"
#include "sensors/bpf/object.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

using cgroup::kNone;

constexpr std::string_view kName = "containers";
constexpr std::size_t kLeast = 64;  // records

// Of memory.stat: the first four are states, which the kernel counts in pages, the others events.
constexpr std::array<std::string_view, VITALD_CGROUP_STATS> kStats = {"anon",          "file",    "file_mapped",
                                                                      "inactive_file", "pgfault", "pgmajfault"};
constexpr std::size_t kStates = 4;

// A state is a sum over CPUs that may be below 0 for a moment; files say 0 then.
std::uint64_t pages_of(std::uint64_t state) { return static_cast<std::int64_t>(state) < 0 ? 0 : state; }

// Where each of kStats may lie, by all that was seen until now.
class Places {
 public:
  Places() {
    for (auto& p : possible_) p.set();
  }
  // `quiet`: which of them did not change meanwhile.
  void see(const vitald_memory_sample& sample, const std::array<std::uint64_t, VITALD_CGROUP_STATS>& file,
           const std::bitset<VITALD_CGROUP_STATS>& quiet, std::uint64_t page) {
    for (std::size_t i = 0; i < possible_.size(); ++i) {
      if (!quiet[i]) continue;
      const bool state = i < kStates;
      const auto count = state ? sample.states : sample.events;
      for (std::size_t at = 0; at < VITALD_SAMPLE_PLACES; ++at)
        if (at >= count || (state ? pages_of(sample.state[at]) * page : sample.event[at]) != file[i])
          possible_[i].reset(at);
    }
  }
  // -1 as long as there are several, -2 when there is none.
  [[nodiscard]] int place(std::size_t i) const {
    if (possible_[i].none()) return -2;
    if (possible_[i].count() > 1) return -1;
    for (std::size_t at = 0;; ++at)
      if (possible_[i].test(at)) return static_cast<int>(at);
  }
  [[nodiscard]] bool contradicts() const {
    return std::ranges::any_of(possible_, [](const auto& p) { return p.none(); });
  }

 private:
  std::array<std::bitset<VITALD_SAMPLE_PLACES>, VITALD_CGROUP_STATS> possible_;
};

// As cputime_adjust() divides what a cgroup has used by what was sampled at ticks; neither part goes back.
struct Divided {
  std::uint64_t user = 0, system = 0;
};
Divided divide(const vitald_cgroup_record& r, const Divided& before) {
  const Divided shown{std::max<std::uint64_t>(r.shown_user_ns, before.user),
                      std::max<std::uint64_t>(r.shown_system_ns, before.system)};
  if (shown.user + shown.system >= r.cpu_ns) return shown;
  std::uint64_t system = 0;
  if (r.system_ns == 0) system = 0;
  else if (r.user_ns == 0) system = r.cpu_ns;
  else
    system = static_cast<std::uint64_t>(static_cast<unsigned __int128>(r.system_ns) * r.cpu_ns /
                                        (static_cast<unsigned __int128>(r.system_ns) + r.user_ns));
  system = std::max(system, shown.system);
  std::uint64_t user = r.cpu_ns - std::min<std::uint64_t>(system, r.cpu_ns);
  if (user < shown.user) {
    user = shown.user;
    system = r.cpu_ns - user;
  }
  return {user, system};
}

class Iterator final : public CgroupIterator {
 public:
  Iterator(const Host& host, std::string root)
      : facts_(host.shared<KernelFacts>()),
        root_(std::move(root)),
        page_(static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE))) {}

  Result<> load(std::size_t room) {
    const Signal signal{kName, 1, 0, {}, 8u << 20};
    if (auto ok = bpf_detail::check(facts_, signal); !ok) return ok;
    if (auto ok = bpf_detail::check_room(std::span(&signal, 1)); !ok) return ok;
    constexpr std::string_view kWanted[] = {"bpf_iter_cgroup"};
    const auto ids = iterator_ids(kWanted);
    if (!ids) return fail(ids.error());
    if (ids->empty()) return fail(Errc::absent, "this kernel has no iterator over cgroups (from Linux 6.1)");
    auto types = bpf_detail::TypesFile::make(kName);
    if (!types) return fail(types.error());
    LIBBPF_OPTS(bpf_object_open_opts, open_options);
    open_options.btf_custom_path = types->path();
    std::unique_ptr<cgroups_bpf, Destroy> skel(cgroups_bpf::open(&open_options));
    if (!skel) return fail(from_errno("iterator over cgroups: open", errno));
    bpf_map__set_max_entries(skel->maps.wanted_cgroups, static_cast<__u32>(room));
    bpf_map__set_max_entries(skel->maps.records, static_cast<__u32>(room));
    if (auto ok = types->fill(skel->obj); !ok) return ok;
    {
      const bpf_detail::LoadingIterators loading(*ids);
      if (const int err = cgroups_bpf::load(skel.get()); err != 0) return fail(bpf_detail::load_error(kName, -err));
    }
    auto records = MappedArray<vitald_cgroup_record>::of(skel->maps.records);
    auto samples = MappedArray<vitald_memory_sample>::of(skel->maps.samples);
    if (!records) return fail(records.error());
    if (!samples) return fail(samples.error());
    const Fd folder(open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder) return fail(from_errno(root_, errno));
    bpf_iter_link_info info{};
    info.cgroup.order = BPF_CGROUP_ITER_DESCENDANTS_PRE;
    info.cgroup.cgroup_fd = static_cast<__u32>(folder.get());
    LIBBPF_OPTS(bpf_link_create_opts, link_options);
    link_options.iter_info = &info;
    link_options.iter_info_len = sizeof info;
    Fd link(bpf_link_create(bpf_program__fd(skel->progs.each_cgroup), 0, BPF_TRACE_ITER, &link_options));
    if (!link) return fail(from_errno("iterator over cgroups", errno));
    skel_ = std::move(skel);
    records_ = std::move(*records);
    samples_ = std::move(*samples);
    link_ = std::move(link);
    known_cgroups_.clear();
    free_.clear();
    for (auto number = static_cast<std::uint32_t>(records_.size()); number > 0; --number) free_.push_back(number - 1);
    skel_->bss->round_number = round_;
    tell_places();
    return {};
  }

  // One that comes or goes costs that one.
  Result<> want(std::span<const std::string> paths) override {
    const std::set<std::string_view> wanted(paths.begin(), paths.end());
    for (auto c = known_cgroups_.begin(); c != known_cgroups_.end();) {
      if (wanted.contains(c->first)) {
        ++c;
        continue;
      }
      forget(c->second);
      c = known_cgroups_.erase(c);
    }
    if (paths.size() > records_.size())
      if (auto ok = load(paths.size() + paths.size() / 2); !ok) return ok;
    order_.clear();
    std::set<std::string_view> tops;
    for (const auto& path : paths) {
      auto& c = known_cgroups_[path];
      order_.push_back(&c);
      tops.insert(std::string_view(path).substr(0, path.find('/', 1)));
      if (c.number == kNoNumber || records_[c.number].round != round_)
        if (auto ok = find(c, path); !ok) return ok;
    }
    tops_.clear();
    samples_of_.assign(1, at_folder(root_));
    for (const auto& top : tops) samples_of_.push_back(at_folder(fmt::format("{}{}", root_, top)));
    for (const auto& top : tops)
      for (const char* file : {"cpu.stat", "memory.stat", "io.stat"})
        tops_.push_back(std::make_unique<Attribute>(fmt::format("{}{}/{}", root_, top, file)));
    return {};
  }

  Result<> read(LeftOut& left_out) override {
    // What is counted per CPU is added up when somebody reads a file of a cgroup, for all that are below it.
    for (auto& top : tops_)
      if (!top->text())
        if (auto why = top->no_number()) left_out.add(std::move(*why));
    auto& shared = *skel_->bss;
    const auto before = sample();
    const auto round = ++shared.round_number;
    const Fd file(bpf_iter_create(link_.get()));
    if (!file) return fail(from_errno("iterator over cgroups", errno));
    char none[64];
    for (;;) {
      const auto n = ::read(file.get(), none, sizeof none);
      if (n == 0) break;
      if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (n < 0) return fail(from_errno("reading an iterator over cgroups", errno));
    }
    round_ = round;
    learn(before);
    return {};
  }

  bool get(std::size_t which, cgroup::Values& out, LeftOut& left_out) override {
    if (which >= order_.size() || order_[which]->number == kNoNumber) return false;
    auto& c = *order_[which];
    const auto& r = records_[c.number];
    if (r.round != round_) return false;
    auto& n = out.numbers;
    n.fill(kNone);
    c.divided = divide(r, c.divided);
    // The files have whole microseconds.
    const auto seconds = [](std::uint64_t ns) { return static_cast<double>(ns / 1000) / 1e6; };
    n[cgroup::cpu_usage] = seconds(r.cpu_ns);
    n[cgroup::cpu_user] = seconds(c.divided.user);
    n[cgroup::cpu_system] = seconds(c.divided.system);
    if ((r.has & VITALD_CGROUP_CPU) != 0) {
      n[cgroup::cpu_periods] = r.periods;
      n[cgroup::cpu_throttled_periods] = r.throttled_periods;
      n[cgroup::cpu_throttled] = seconds(r.throttled_ns);
      if (r.quota_ns != ~0ULL) n[cgroup::cpu_quota] = static_cast<double>(r.quota_ns / 1000);
      n[cgroup::cpu_period] = static_cast<double>(r.period_ns / 1000);
      const auto weight = ((r.shares >> 10) * 100 + 512) / 1024;
      if (weight >= 1) n[cgroup::cpu_shares] = std::round(2 + static_cast<double>(weight - 1) * 262142 / 9999);
    }
    if ((r.has & VITALD_CGROUP_MEMORY) != 0) memory(c, r, n, left_out);
    if ((r.has & VITALD_CGROUP_PIDS) != 0) {
      constexpr std::int64_t kNoLimit = 4 * 1024 * 1024 + 1;  // PIDS_MAX, kernel/cgroup/pids.c
      n[cgroup::threads] = static_cast<double>(std::max<std::int64_t>(r.tasks, 0));
      if (r.tasks_max < kNoLimit) n[cgroup::threads_limit] = static_cast<double>(r.tasks_max);
    }
    if (c.has_pressure && (r.has & VITALD_CGROUP_PRESSURE) != 0)
      for (std::size_t i = 0; i < VITALD_CGROUP_PRESSURES; ++i) n[cgroup::cpu_waiting + i] = seconds(r.pressure_ns[i]);
    return io(r, out);
  }
  [[nodiscard]] bool knows_memory_stat() const override { return known_; }

 private:
  struct Destroy {
    void operator()(cgroups_bpf* skel) const noexcept { cgroups_bpf::destroy(skel); }
  };
  static constexpr std::uint32_t kNoNumber = UINT32_MAX;
  struct Cgroup {
    std::uint64_t id = 0;
    std::uint32_t number = kNoNumber;  // of its record; none: it has gone
    std::string memory_stat;
    bool has_swap = false, has_pressure = false;
    Divided divided;
  };
  using Stats = std::array<std::uint64_t, VITALD_CGROUP_STATS>;
  static constexpr std::uint64_t kAgain = 64;  // rounds

  void forget(Cgroup& c) {
    if (c.number == kNoNumber) return;
    bpf_map_delete_elem(bpf_map__fd(skel_->maps.wanted_cgroups), &c.id);
    free_.push_back(std::exchange(c.number, kNoNumber));
  }
  static Cgroup at_folder(const std::string& folder) {
    struct stat s {};
    Cgroup c;
    if (stat(folder.c_str(), &s) == 0) c.id = s.st_ino;
    c.memory_stat = folder + "/memory.stat";
    return c;
  }
  // It is new, or its folder was made anew.
  Result<> find(Cgroup& c, const std::string& path) {
    const auto folder = root_ + path;
    struct stat s {};
    const bool there = stat(folder.c_str(), &s) == 0;
    if (there && c.number != kNoNumber && c.id == s.st_ino) return {};
    forget(c);
    if (!there) return {};
    c = Cgroup{s.st_ino,
               free_.back(),
               folder + "/memory.stat",
               access((folder + "/memory.swap.current").c_str(), F_OK) == 0,
               access((folder + "/memory.pressure").c_str(), F_OK) == 0,
               {}};
    free_.pop_back();
    records_[c.number] = {};
    if (bpf_map_update_elem(bpf_map__fd(skel_->maps.wanted_cgroups), &c.id, &c.number, BPF_ANY) != 0)
      return fail(from_errno("iterator over cgroups: what is wanted", errno));
    return {};
  }

  static std::optional<Stats> read_stats(const std::string& path) {
    const auto text = read_kernel_file(path);
    if (!text) return std::nullopt;
    Stats stats{};
    std::size_t found = 0;
    std::string_view rest = *text;
    while (!rest.empty()) {
      auto line = take_line(rest);
      const auto at = std::ranges::find(kStats, take_word(line));
      if (at == kStats.end()) continue;
      const auto value = take_u64(line);
      if (!value) return std::nullopt;
      stats[static_cast<std::size_t>(at - kStats.begin())] = *value;
      ++found;
    }
    return found == kStats.size() ? std::optional(stats) : std::nullopt;
  }

  // Another cgroup each time, until all places are known. The more there is in it, the more it tells apart, so the root
  // and those that all others are in come first.
  std::optional<Stats> sample() {
    auto& shared = *skel_->bss;
    shared.sample_id = 0;
    // What is known is looked at again now and then: a place that is wrong would never be noticed.
    if ((known_ && round_ % kAgain != 0) || hopeless_ || samples_of_.empty()) return std::nullopt;
    const auto at = sampled_++ % (samples_of_.size() + order_.size());
    const auto& from = at < samples_of_.size() ? samples_of_[at] : *order_[at - samples_of_.size()];
    auto stats = read_stats(from.memory_stat);
    if (stats) shared.sample_id = from.id, sampled_path_ = from.memory_stat;
    return stats;
  }
  void learn(const std::optional<Stats>& before) {
    const auto& taken = samples_[0];
    if (!before || taken.round != round_) return;
    const auto after = read_stats(sampled_path_);
    if (!after) return;
    std::bitset<VITALD_CGROUP_STATS> quiet;
    for (std::size_t i = 0; i < quiet.size(); ++i) quiet[i] = (*before)[i] == (*after)[i];
    places_.see(taken, *before, quiet, page_);
    if (places_.contradicts()) {
      hopeless_ = ++contradictions_ >= 3;
      places_ = Places();
      known_ = false;
      return;
    }
    if (std::exchange(known_, tell_places()) || !known_) return;
    stats_round_ = round_ + 1;
    contradictions_ = 0;
  }
  // True when all are known.
  bool tell_places() {
    bool all = true;
    for (std::size_t i = 0; i < kStats.size(); ++i) {
      const auto place = places_.place(i);
      all = all && place >= 0;
      (i < kStates ? skel_->data->state_places[i] : skel_->data->event_places[i - kStates]) = place;
    }
    return all;
  }

  void memory(const Cgroup& c, const vitald_cgroup_record& r, std::array<double, cgroup::kNumbers>& n,
              LeftOut& left_out) const {
    const auto bytes = [&](std::uint64_t pages) { return static_cast<double>(pages * page_); };
    const auto no_limit = static_cast<std::uint64_t>(INT64_MAX) / page_;  // PAGE_COUNTER_MAX
    n[cgroup::memory_usage] = bytes(r.memory);
    n[cgroup::memory_max_usage] = bytes(r.memory_peak);
    n[cgroup::memory_failcnt] = static_cast<double>(r.at_limit);
    n[cgroup::memory_oom] = static_cast<double>(r.oom_kills);
    if (r.memory_max < no_limit) n[cgroup::memory_limit] = bytes(r.memory_max);
    if (c.has_swap) {
      n[cgroup::memory_swap] = bytes(r.swap);
      if (r.swap_max < no_limit) n[cgroup::swap_limit] = bytes(r.swap_max);
    }
    Stats stats{};
    if (known_ && stats_round_ <= r.round) {
      for (std::size_t i = 0; i < stats.size(); ++i) stats[i] = i < kStates ? pages_of(r.stats[i]) * page_ : r.stats[i];
    } else if (const auto read = read_stats(c.memory_stat)) {
      stats = *read;
    } else {
      left_out.add({Errc::gone, 0, c.memory_stat + ": not to be read"});
      return;
    }
    n[cgroup::memory_rss] = static_cast<double>(stats[0]);
    n[cgroup::memory_cache] = static_cast<double>(stats[1]);
    n[cgroup::memory_mapped] = static_cast<double>(stats[2]);
    n[cgroup::memory_working_set] = std::max(0.0, n[cgroup::memory_usage] - static_cast<double>(stats[3]));
    n[cgroup::memory_pgfault] = static_cast<double>(stats[4]);
    n[cgroup::memory_pgmajfault] = static_cast<double>(stats[5]);
  }

  // False where its file has to be read: there were too many disks.
  static bool io(const vitald_cgroup_record& r, cgroup::Values& out) {
    out.io.clear();
    if ((r.has & VITALD_CGROUP_MORE_IO) != 0) return false;
    for (std::uint32_t i = 0; i < std::min<std::uint32_t>(r.disks, VITALD_CGROUP_DISKS); ++i) {
      const auto& from = r.io[i];
      if (from.bytes[0] == 0 && from.bytes[1] == 0 && from.requests[0] == 0 && from.requests[1] == 0) continue;
      cgroup::Io io;
      io.device = fmt::format("{}:{}", from.major, from.minor);
      io.values[cgroup::read_bytes] = static_cast<double>(from.bytes[0]);
      io.values[cgroup::written_bytes] = static_cast<double>(from.bytes[1]);
      io.values[cgroup::reads] = static_cast<double>(from.requests[0]);
      io.values[cgroup::writes] = static_cast<double>(from.requests[1]);
      out.io.push_back(std::move(io));
    }
    return true;
  }

  const KernelFacts& facts_;
  const std::string root_;
  const std::uint64_t page_;
  std::unique_ptr<cgroups_bpf, Destroy> skel_;
  MappedArray<vitald_cgroup_record> records_;
  MappedArray<vitald_memory_sample> samples_;
  Fd link_;
  std::unordered_map<std::string, Cgroup> known_cgroups_;  // by path
  std::vector<Cgroup*> order_;                             // as they are wanted
  std::vector<std::uint32_t> free_;                        // records that are nobody's
  std::vector<std::unique_ptr<Attribute>> tops_;
  std::uint64_t round_ = 0;
  Places places_;
  bool known_ = false, hopeless_ = false;
  int contradictions_ = 0;
  std::vector<Cgroup> samples_of_;  // besides those that are wanted
  std::size_t sampled_ = 0;
  std::string sampled_path_;
  std::uint64_t stats_round_ = 0;  // from which on records have what memory.stat has
};

}  // namespace

Result<std::unique_ptr<CgroupIterator>> CgroupIterator::load(const Host& host, const std::string& root) {
  if (!host.view().kernel) return fail(Errc::absent, "not the running system");
  auto made = std::make_unique<Iterator>(host, root);
  if (auto ok = made->load(kLeast); !ok) return fail(ok.error());
  return made;
}

}  // namespace vitald
