// SPDX-License-Identifier: Apache-2.0
#include "sensors/owner/table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "sensors/owner/cgroups.h"
#include "sensors/owner/slots.h"
#include "sensors/owner/totals.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
const std::string kId = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const std::string kUid = "3f1f2b1c-9b5e-4d7e-8d35-2a7f6d1c0e55";

struct Row {
  std::uint64_t cpu_ns, switches;
};
using Totals = OwnerTotals<Row>;

class OwnerTableTest : public testing::Test {
 protected:
  OwnerTableTest()
      : tree_("loadavg"),
        host_({tree_.root() + "/proc", tree_.root() + "/sys", tree_.root() + "/root", ""}, &clock_),
        table_(host_.shared<OwnerTable>()) {
    clock_.advance_ns(1000 * kSecond);
  }
  OwnerId hold(const std::string& path) { return table_.hold({path, ""}); }
  std::string name(OwnerId id) { return table_.at(id)->owner.name; }
  void later(std::int64_t ns) {
    clock_.advance_ns(ns);
    table_.cycle(clock_.boot_ns());
  }
  static std::string text(Totals& totals) {
    totals.begin_round();
    totals.end_round();
    std::string out;
    for (const auto& e : totals.entries()) out += e.owner->owner.name + "=" + std::to_string(e.shown.cpu_ns) + " ";
    return out;
  }

  FakeClock clock_;
  CollectorFixture tree_;
  Host host_;
  OwnerTable& table_;
};

TEST_F(OwnerTableTest, OneOwnerOfManyCgroups) {
  const auto a = hold("/system.slice/a.service"), again = hold("/system.slice/a.service/worker");
  EXPECT_NE(a, kOtherOwner);
  EXPECT_EQ(a, again);
  EXPECT_EQ(name(a), "a.service");
}

// To the kernel a name is any bytes; what is shown is text, and two owners that differ stay two.
TEST_F(OwnerTableTest, NamesThatAreNoText) {
  struct Case {
    std::string path, name;
  };
  std::set<OwnerId> ids;
  const Case cases[] = {{"/a/q\xff", "/a/q\\xff"},
                        {"/a/q\xfe", "/a/q\\xfe"},
                        {"/a/\xc3\xbc", "/a/\xc3\xbc"},
                        {"/machine.slice/machine-u\xff.scope", "u\\xff"},
                        {"/machine.slice/machine-u\\xff.scope", "u\\xff"},  // systemd's spelling of the same
                        {"/lxc.payload.z\xfe", "z\\xfe"}};
  for (const auto& c : cases) {
    const auto id = hold(c.path);
    EXPECT_NE(id, kOtherOwner);
    EXPECT_EQ(name(id), c.name);
    ids.insert(id);
  }
  EXPECT_EQ(ids.size(), std::size(cases) - 1);
}

TEST_F(OwnerTableTest, StaysAWhileThenIsOther) {
  Totals totals(table_);
  const auto a = hold("/system.slice/a.service");
  totals.add(a, {5, 0});
  table_.release(a);
  later(299 * kSecond);
  EXPECT_EQ(text(totals), "other=0 a.service=5 ");
  EXPECT_EQ(hold("/system.slice/a.service"), a) << "a unit that restarts goes on counting";
  later(1000 * kSecond);
  EXPECT_EQ(text(totals), "other=0 a.service=5 ");
  table_.release(a);
  later(301 * kSecond);
  EXPECT_EQ(text(totals), "other=0 ") << "in a rate of other it would count twice";
  EXPECT_NE(hold("/system.slice/a.service"), a) << "an id is never used again";
  EXPECT_EQ(name(a), "other");
}

TEST_F(OwnerTableTest, Limit) {
  table_.set_limit(2);
  const auto a = hold("/a"), b = hold("/b");
  EXPECT_EQ(hold("/c"), kOtherOwner);
  EXPECT_FALSE(table_.has_room());
  EXPECT_EQ(table_.stats().turned_away, 1u);
  table_.release(a);
  EXPECT_TRUE(table_.has_room());
  EXPECT_EQ(name(hold("/c")), "/c") << "the one that nobody holds makes room";
  EXPECT_EQ(name(a), "other");
  EXPECT_EQ(name(b), "/b");
}

TEST_F(OwnerTableTest, ALateNameMovesWhatWasCounted) {
  Totals totals(table_);
  const auto early = hold("/kubepods/pod" + kUid + "/" + kId);
  totals.add(early, {7, 1});
  later(kSecond);
  EXPECT_EQ(text(totals), "other=0 0123456789ab=7 ");
  tree_.write("root/var/log/containers/web_default_nginx-" + kId + ".log", "");
  later(5 * kSecond);
  EXPECT_EQ(text(totals), "other=0 default/web/nginx=7 ");
  EXPECT_EQ(name(early), "default/web/nginx");
}

// The container was restarted: an owner of that name is there already, with what the one before counted.
TEST_F(OwnerTableTest, ALateNameThatIsTakenMakesThemOne) {
  Totals totals(table_);
  const std::string before = "f" + kId.substr(1);
  tree_.write("root/var/log/containers/web_default_nginx-" + before + ".log", "");
  const auto first = hold("/kubepods/pod" + kUid + "/" + before);
  totals.add(first, {100, 0});
  later(6 * kSecond);
  const auto second = hold("/kubepods/pod" + kUid + "/" + kId);
  totals.add(second, {7, 0});
  later(kSecond);
  EXPECT_EQ(text(totals), "other=0 default/web/nginx=100 0123456789ab=7 ");
  tree_.write("root/var/log/containers/web_default_nginx-" + kId + ".log", "");
  later(5 * kSecond);
  EXPECT_EQ(text(totals), "other=0 default/web/nginx=100 ") << "what it had shown by its id was counted there";
  totals.add(second, {1, 0});
  EXPECT_EQ(text(totals), "other=0 default/web/nginx=101 ") << "also by its old id";
  table_.release(first);
  table_.release(second);
  later(301 * kSecond);
  EXPECT_EQ(text(totals), "other=0 ");
}

TEST_F(OwnerTableTest, AContainerOfSomebodysIsNotTheHosts) {
  const auto hosts = hold("/docker/" + kId), users = hold("/user.slice/user@1000.service/docker-" + kId + ".scope");
  EXPECT_EQ(name(hosts), kId.substr(0, 12));
  EXPECT_EQ(name(users), kId.substr(0, 12) + " in user@1000.service");
}

// A container is the host's by where it is, whoever comes first.
TEST_F(OwnerTableTest, NobodyTakesTheNameOfAHostsContainer) {
  struct Case {
    const char *name, *users, *called, *hosts;
  };
  const std::string user = "/user.slice/user-1000.slice/user@1000.service";
  const Case cases[] = {
      {"LXC", "/lxc.payload.db", "db in user@1000.service", "/lxc.payload.db"},
      {"LXC before 4", "/lxc/db", "db in user@1000.service", "/lxc/db"},
      {"systemd", "/machine.slice/machine-db.scope", "db in user@1000.service", "/machine.slice/machine-db.scope"},
      {"nspawn", "/machine.slice/systemd-nspawn@db.service", "db in user@1000.service",
       "/machine.slice/systemd-nspawn@db.service"},
      {"an id", "/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope",
       "0123456789ab in user@1000.service", "/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const Host host({tree_.root() + "/proc", tree_.root() + "/sys", tree_.root() + "/root", ""}, &clock_);
    auto& table = host.shared<OwnerTable>();
    const auto users = table.hold({"/", user + c.users}), hosts = table.hold({c.hosts, ""});
    EXPECT_EQ(table.at(users)->owner.name, c.called);
    EXPECT_EQ(table.at(hosts)->owner.name, std::string(c.called).substr(0, std::string(c.called).find(' ')));
    const auto again = table.hold({c.hosts, ""});
    EXPECT_EQ(again, hosts);
    EXPECT_EQ(table.hold({"/", user + c.users + "/init.scope"}), users);
  }
}

// Each manager keeps its names apart from its own only.
TEST_F(OwnerTableTest, ContainersOfOneNameOfTwoManagers) {
  const auto machine = hold("/machine.slice/machine-web.scope"), lxc = hold("/lxc/web"),
             libvirt = hold("/lxc-3-web.libvirt-lxc");
  EXPECT_EQ(std::set({machine, lxc, libvirt}).size(), 3U);
  EXPECT_EQ(name(machine), "web");
  EXPECT_EQ(name(lxc), "web of lxc");
  EXPECT_EQ(name(libvirt), "web of libvirt");
  EXPECT_EQ(hold("/lxc.payload.web/init.scope"), lxc) << "of LXC 4";
  EXPECT_EQ(hold("/machine.slice/systemd-nspawn@web.service"), machine);
  // Who has a name keeps it when the others are gone.
  for (int i = 0; i < 2; ++i) table_.release(machine);
  later(301 * kSecond);
  EXPECT_EQ(name(machine), "other");
  EXPECT_EQ(hold("/lxc/web"), lxc);
  EXPECT_EQ(name(lxc), "web of lxc");
}

TEST_F(OwnerTableTest, OfAProcess) {
  tree_.write("proc/self/cgroup", "2:cpu,cpuacct:/\n0::/\n");
  const Host host({tree_.root() + "/proc", tree_.root() + "/sys", tree_.root() + "/root", ""}, &clock_);
  auto& table = host.shared<OwnerTable>();
  tree_.write("proc/12/cgroup", "4:memory:/x\n2:cpu,cpuacct:/docker/" + kId + "\n0::/system.slice/docker.service\n");
  tree_.write("proc/13/cgroup", "0::/system.slice/ssh.service\n");
  EXPECT_EQ(table.at(table.of_pid(12))->owner.name, kId.substr(0, 12));
  EXPECT_EQ(table.at(table.of_pid(13))->owner.name, "ssh.service");
  EXPECT_EQ(table.of_pid(14), kOtherOwner);
}

TEST_F(OwnerTableTest, ShownNeverGoesBack) {
  Totals totals(table_);
  const auto a = hold("/a");
  const auto round = [&](std::uint64_t running) {
    totals.begin_round();
    totals.add_running(a, {running, 0});
    totals.end_round();
    return totals.entries().back().shown.cpu_ns;
  };
  EXPECT_EQ(round(5), 5u);
  EXPECT_EQ(round(4), 5u);
  EXPECT_EQ(round(6), 6u);
}

TEST_F(OwnerTableTest, Fields) {
  static constexpr MetricDesc kCpu{"vitald_owner_cpu_seconds_total"}, kSwitches{"vitald_owner_context_switches_total"};
  static constexpr OwnerField kFields[] = {{kCpu, offsetof(Row, cpu_ns), 1e9},
                                           {kSwitches, offsetof(Row, switches), 1, {"kind", "voluntary"}}};
  Totals totals(table_);
  totals.add(hold("/system.slice/a.service"), {2'500'000'000, 3});
  totals.begin_round();
  totals.end_round();
  BatchWriter writer("test");
  writer.begin(0);
  emit_fields<Row>(kFields, totals.entries(), writer);
  const auto batch = writer.finish({}, 0, 0);
  std::string text;
  for (const auto& s : batch->layout->samples())
    text += std::string(batch->layout->prefix(s)) + std::to_string(batch->values[s.value]) + "\n";
  EXPECT_EQ(
      text,
      "vitald_owner_cpu_seconds_total{owner=\"other\",owner_kind=\"other\"} 0.000000\n"
      "vitald_owner_cpu_seconds_total{owner=\"a.service\",owner_kind=\"unit\"} 2.500000\n"
      "vitald_owner_context_switches_total{kind=\"voluntary\",owner=\"other\",owner_kind=\"other\"} 0.000000\n"
      "vitald_owner_context_switches_total{kind=\"voluntary\",owner=\"a.service\",owner_kind=\"unit\"} 3.000000\n");
}

// The kernel's side, played: cgroups that come and go, tasks that count in them, a rmdir that is not told.
class FakeKernel final : public SlotMaps {
 public:
  explicit FakeKernel(std::uint32_t size) : rows(size), slots_(size) {
    for (std::uint32_t slot = size; --slot > 0;) free_.push_back(slot);
  }
  // As find_slot() and the program after it do.
  void charge(const std::string& path, std::uint64_t ns) {
    charged += ns;
    rows[slot_of(path)].cpu_ns += ns;
  }
  void rmdir(const std::string& path, bool told = true) {
    removed_.insert(path);
    if (told) told_.insert(path);
    const auto it = by_path_.find(path);
    if (it != by_path_.end() && told) slots_[it->second].dead = true;
  }
  void mkdir(const std::string& path) {
    removed_.erase(path);
    told_.erase(path);
  }
  void hide(std::uint32_t slot) { slots_[slot].used = false; }
  [[nodiscard]] std::size_t free() const { return free_.size(); }

  [[nodiscard]] std::uint32_t size() const override { return static_cast<std::uint32_t>(slots_.size()); }
  [[nodiscard]] bool used(std::uint32_t slot) const override {
    ++looked_at;
    return slots_[slot].used;
  }
  [[nodiscard]] bool dead(std::uint32_t slot) const override {
    const auto& s = slots_[slot];
    return s.claimed.empty() ? s.dead : told_.contains(s.claimed);
  }
  [[nodiscard]] CgroupPaths paths(std::uint32_t slot) const override {
    CgroupPaths paths{slots_[slot].path, ""};
    for (std::size_t at = 0; at != std::string::npos;) {
      at = paths.v2.find('/', at + 1);
      paths.v2_ids.push_back(id_of(paths.v2.substr(0, at)));
    }
    return paths;
  }
  [[nodiscard]] bool removed_unseen(std::uint32_t slot, const CgroupPaths&) const override {
    const auto& s = slots_[slot];
    return removed_.contains(s.claimed.empty() ? s.path : s.claimed);
  }
  bool claim(std::uint32_t slot, const Territory& territory) override {
    slots_[slot].claimed = ids_.at(territory.id - 1);
    territories_[slots_[slot].claimed] = slot;
    return true;
  }
  void belongs(std::uint32_t slot, OwnerId owner) override { owners[slot] = owner; }
  void forget(std::uint32_t slot) override {
    by_path_.erase(slots_[slot].path);
    if (!slots_[slot].claimed.empty()) territories_.erase(slots_[slot].claimed);
    slots_[slot] = {};
  }
  void give_back(const std::vector<std::uint32_t>& slots) override {
    free_.insert(free_.end(), slots.begin(), slots.end());
  }

  mutable std::size_t looked_at = 0;
  std::vector<Row> rows;
  std::map<std::uint32_t, OwnerId> owners;
  std::uint64_t charged = 0;

 private:
  std::uint32_t slot_of(const std::string& path) {
    if (const auto it = by_path_.find(path); it != by_path_.end()) return it->second;
    for (auto above = path; !above.empty(); above.resize(above.rfind('/')))
      if (const auto it = territories_.find(above); it != territories_.end()) return it->second;
    if (free_.empty()) return 0;
    const auto slot = free_.back();
    free_.pop_back();
    slots_[slot] = {true, removed_.contains(path), path, ""};  // a task of a removed cgroup that still exits
    return by_path_[path] = slot;
  }
  struct Slot {
    bool used = false, dead = false;
    std::string path, claimed;
  };
  std::uint64_t id_of(const std::string& path) const {
    const auto known = static_cast<std::uint64_t>(std::ranges::find(ids_, path) - ids_.begin());
    if (known == ids_.size()) ids_.push_back(path);
    return known + 1;
  }
  mutable std::vector<std::string> ids_;  // by number, from 1
  std::map<std::string, std::uint32_t> territories_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::map<std::string, std::uint32_t> by_path_;
  std::set<std::string> removed_, told_;
};

class Churn : public OwnerTableTest {
 protected:
  explicit Churn(std::uint32_t size = 17)
      : kernel_(size),
        slots_(host_, table_, kernel_),
        counted_(
            slots_, table_, [this](std::uint32_t slot) { return kernel_.rows[slot]; },
            [](const Row& grown) { return grown.cpu_ns >= 1000; }) {
    table_.set_limit(size - 1);
  }
  std::map<std::string, std::uint64_t> round(std::int64_t later_ns = kSecond) {
    clock_.advance_ns(later_ns);
    std::map<std::string, std::uint64_t> shown;
    counted_.round([](auto&) {},
                   [&](auto entries) {
                     by_id_.clear();
                     for (const auto& e : entries) {
                       shown[e.owner->owner.name] += e.shown.cpu_ns;
                       by_id_[e.owner->id] = e.shown.cpu_ns;
                     }
                   });
    return shown;
  }
  std::map<OwnerId, std::uint64_t> by_id_;
  FakeKernel kernel_;
  OwnerSlots slots_;
  SlotTotals<Row> counted_;
};

TEST_F(Churn, NamesFromTheFirstRound) {
  tree_.write("root/var/log/containers/web_default_nginx-" + kId + ".log", "");
  kernel_.charge("/kubepods/pod" + kUid + "/" + kId, 5);
  EXPECT_EQ(round(), (std::map<std::string, std::uint64_t>{{"other", 0}, {"default/web/nginx", 5}}));
}

class LargeTable : public Churn {
 protected:
  LargeTable() : Churn(1025) {}
};

// What nobody ever had costs nothing, and is found all the same: many at once, and one that comes out of turn.
TEST_F(LargeTable, WhatNobodyEverHadIsNotLookedAt) {
  for (int i = 0; i < 3; ++i) kernel_.charge("/few" + std::to_string(i), 5);
  round();
  kernel_.looked_at = 0;
  for (int i = 0; i < 5; ++i) round();
  EXPECT_LE(kernel_.looked_at, 5u * 40) << "of 1,024";
  for (int i = 0; i < 500; ++i) kernel_.charge("/many" + std::to_string(i), 5);
  EXPECT_EQ(round().size(), 504u) << "in the round that they come";
  std::uint64_t sum = 0;
  for (int i = 0; i < 400; ++i) kernel_.charge("/late" + std::to_string(i), 5);
  for (int i = 600; i < 890; ++i) kernel_.hide(static_cast<std::uint32_t>(i));  // begun on CPUs that stand still
  for (int i = 0; i < 70; ++i) {
    sum = 0;
    for (const auto& [name, ns] : round()) sum += ns;
  }
  EXPECT_GE(sum, kernel_.charged - 290 * 5) << "those behind a gap come when all are looked at";
}

TEST_F(Churn, ALastSliceIsOthers) {
  kernel_.charge("/a", 5);
  round();
  kernel_.rmdir("/a");
  round();
  kernel_.charge("/a", 1);  // still found
  EXPECT_EQ(round()["/a"], 6u);
  EXPECT_EQ(round()["other"], 0u);
  EXPECT_EQ(kernel_.free(), 16u);
}

TEST_F(Churn, ASlotIsNotLostWhoseEndWasNotTold) {
  kernel_.charge("/a", 5);
  kernel_.rmdir("/a", false);
  for (int i = 0; i < 70; ++i) round();
  EXPECT_EQ(kernel_.free(), 16u);
  kernel_.charge("/a", 1);  // and one that is begun after it
  for (int i = 0; i < 4; ++i) round();
  EXPECT_EQ(kernel_.free(), 16u);
}

TEST_F(Churn, OwnersComeBack) {
  table_.set_limit(2);
  for (const auto* path : {"/a", "/b", "/c"}) kernel_.charge(path, 10);
  auto shown = round();
  EXPECT_EQ(shown["other"], 10u);
  kernel_.rmdir("/a");
  for (int i = 0; i < 4; ++i) round();
  kernel_.charge("/c", 3);
  shown = round();
  EXPECT_EQ(shown["/c"], 3u) << "no longer other";
  EXPECT_EQ(shown["other"], 10u);
}

// After the start: what comes and goes within a second is "other", unless it worked.
TEST_F(Churn, TheYoungHaveNoOwnerYet) {
  round(20 * kSecond);
  kernel_.charge("/system.slice/brief.service", 5);
  kernel_.charge("/system.slice/stays.service", 7);
  auto shown = round();
  EXPECT_EQ(shown, (std::map<std::string, std::uint64_t>{{"other", 12}}));
  EXPECT_EQ(slots_.lumped(), 2u);
  kernel_.rmdir("/system.slice/brief.service");
  kernel_.charge("/system.slice/stays.service", 3);
  kernel_.charge("/system.slice/works.service", 2000);
  shown = round();
  EXPECT_EQ(shown,
            (std::map<std::string, std::uint64_t>{{"other", 15}, {"stays.service", 0}, {"works.service", 2000}}));
  EXPECT_EQ(slots_.lumped(), 0u);
  kernel_.charge("/system.slice/stays.service", 1);
  EXPECT_EQ(round()["stays.service"], 1u);
}

// Whoever comes is a new set of series to whoever scrapes.
TEST_F(Churn, ANumberOfNewOwnersAnHour) {
  table_.set_limit(16, 4);
  round(20 * kSecond);
  std::set<std::string> seen;
  for (int i = 0; i < 3600; ++i) {
    const auto path = "/" + std::to_string(i / 3);
    kernel_.charge(path, 5000);
    if (i % 3 == 2) kernel_.rmdir(path);
    for (const auto& [name, ns] : round()) seen.insert(name);
  }
  EXPECT_LE(seen.size(), 1u + 4u + 4u) << "at once, and within the hour";
  EXPECT_GE(seen.size(), 1u + 4u + 3u);
  EXPECT_EQ(kernel_.free(), 16u - slots_.used());
}

TEST_F(Churn, WhoWasThereWithinTheHourIsNotNew) {
  table_.set_limit(16, 1);
  round(20 * kSecond);
  for (int i = 0; i < 5; ++i) {
    kernel_.charge("/a", 5000);
    EXPECT_GE(round()["/a"], 1u) << i;
    kernel_.rmdir("/a");
    for (int k = 0; k < 4; ++k) round();
    kernel_.mkdir("/a");
    round(600 * kSecond);  // forgotten
  }
}

// What a container makes below itself finds its slot: a thousand cgroups of it are one owner, and one slot.
TEST_F(Churn, AContainersCgroupsAreOneTerritory) {
  const auto container = "/kubepods/pod" + kUid + "/" + kId;
  for (int i = 0; i < 16; ++i) kernel_.charge(container + "/mine/" + std::to_string(i), 10);  // no slot is left
  kernel_.charge("/system.slice/honest.service", 1);
  round();
  round();
  EXPECT_EQ(kernel_.free(), 15u);
  kernel_.charge("/system.slice/honest.service", 1);
  for (int i = 0; i < 1000; ++i) kernel_.charge(container + "/yours/" + std::to_string(i), 1);
  auto shown = round();
  EXPECT_EQ(shown["0123456789ab"], 1160u);
  EXPECT_EQ(shown["honest.service"], 1u);
  EXPECT_EQ(shown["other"], 1u) << "what it counted while there was no slot";
  kernel_.rmdir(container + "/mine/0");  // that the slot was begun for
  for (int i = 0; i < 3; ++i) round();
  kernel_.charge(container + "/yours/0", 5);
  EXPECT_EQ(round()["0123456789ab"], 1165u);
  kernel_.rmdir(container);
  for (int i = 0; i < 3; ++i) round();
  EXPECT_EQ(kernel_.free(), 15u) << "gone with the container";
  EXPECT_EQ(slots_.used(), 1u);
}

// Below a unit, a pod, a folder that nobody knows: a share each.
TEST_F(Churn, NobodyCrowdsOutOthers) {
  const std::string makers[] = {"/system.slice/web.service", "/kubepods/pod" + kUid, "/mine"};
  const std::string names[] = {"web.service", kUid, "/mine/..."};
  for (std::size_t m = 0; m < 3; ++m) {
    SCOPED_TRACE(makers[m]);
    std::uint64_t crowd = 0;
    for (int i = 0; i < 12; ++i, round()) kernel_.charge(makers[m] + "/" + std::to_string(i), 1000);
    EXPECT_EQ(slots_.used(), 5u) << "four, and one for all others";
    EXPECT_EQ(slots_.crowded(), 1u);
    for (const auto& [name, ns] : round())
      if (name == names[m]) crowd = ns;
    EXPECT_EQ(crowd, m == 2 ? 8000u : 12000u);
    for (int i = 0; i < 12; ++i) kernel_.rmdir(makers[m] + "/" + std::to_string(i));
    for (int i = 0; i < 12; ++i) round();
    EXPECT_EQ(slots_.crowded(), 0u) << "open again";
    EXPECT_EQ(kernel_.free(), 16u);
  }
}

TEST_F(Churn, ASecondReaderMissesNothing) {
  SlotTotals<Row> second(slots_, table_, [this](std::uint32_t slot) { return kernel_.rows[slot]; });
  kernel_.charge("/a", 5);
  round();
  kernel_.rmdir("/a");
  for (int i = 0; i < 6; ++i) round();  // the first one alone has rounds
  kernel_.charge("/b", 7);              // in the same slot
  std::map<std::string, std::uint64_t> shown;
  clock_.advance_ns(kSecond);
  second.round([](auto&) {},
               [&](auto entries) {
                 for (const auto& e : entries) shown[e.owner->owner.name] += e.shown.cpu_ns;
               });
  EXPECT_EQ(shown, (std::map<std::string, std::uint64_t>{{"other", 0}, {"/a", 5}, {"/b", 7}}));
}

// Rows outlive who reads them: a reload may take a signal away and bring it back.
TEST_F(Churn, WhoComesLaterDoesNotReadThePast) {
  const auto read = [&] {
    std::map<std::string, std::uint64_t> shown;
    SlotTotals<Row> second(slots_, table_, [this](std::uint32_t slot) { return kernel_.rows[slot]; });
    kernel_.charge("/b", 2);
    clock_.advance_ns(kSecond);
    second.round([](auto&) {},
                 [&](auto entries) {
                   for (const auto& e : entries) shown[e.owner->owner.name] += e.shown.cpu_ns;
                 });
    return shown;
  };
  kernel_.charge("/a", 5);
  round();
  kernel_.rmdir("/a");
  for (int i = 0; i < 4; ++i) round();
  kernel_.charge("/b", 7);  // in the same slot
  EXPECT_EQ(round()["/b"], 7u);
  EXPECT_EQ(read(), (std::map<std::string, std::uint64_t>{{"other", 0}, {"/b", 2}}));
}

// What names a slot elsewhere, a record or a culprit, is read while the slot is still whose it was.
TEST_F(Churn, ASlotsEndIsToldBeforeItIsAnothers) {
  struct Listener final : SlotReader {
    explicit Listener(OwnerSlots& s) : slots(s) { slots.add(*this); }
    ~Listener() override { slots.remove(*this); }
    bool read(std::uint32_t, OwnerId) override { return false; }
    [[nodiscard]] bool worth_an_owner(std::uint32_t) const override { return false; }
    void end(std::span<const std::uint32_t> ended) override {
      for (const auto slot : ended) told.push_back({slots.of_slot(slot), slots.paths(slot)->v2});
    }
    OwnerSlots& slots;
    std::vector<std::pair<OwnerId, std::string>> told;
  } listener(slots_);
  kernel_.charge("/a", 5);
  kernel_.charge("/b", 5);
  round();
  const auto a = table_.of_paths({"/a", ""});
  EXPECT_EQ(kernel_.owners[1], a) << "the kernel's side is told whose the slot is";
  kernel_.rmdir("/a");
  for (int i = 0; i < 4; ++i) round();
  EXPECT_EQ(listener.told, (std::vector<std::pair<OwnerId, std::string>>{{a, "/a"}}));
  EXPECT_EQ(kernel_.owners[1], kOtherOwner);
  EXPECT_GT(slots_.free_ns(1), 0);
  EXPECT_EQ(slots_.free_ns(2), 0) << "has always been the same one's";
}

// Whatever comes, goes, is named late, restarts or finds no room: what all series together have grown by is what the
// kernel has charged, those that ended included, and nothing that is shown goes back.
TEST_F(Churn, SumsAreConserved) {
  std::uint64_t ended = 0;
  for (unsigned seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto any = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
    std::vector<std::string> alive;
    std::map<OwnerId, std::uint64_t> last = by_id_;
    unsigned made = 0;
    for (int step = 0; step < 300; ++step) {
      switch (any(6)) {
        case 0:
        case 1: {
          const auto number = std::to_string(seed * 100'000 + made++);
          const auto id = kId.substr(0, 64 - number.size()) + number;
          const std::string makers[] = {
              "/kubepods/pod" + kUid + "/" + id, "/kubepods/pod" + kUid + "/" + kId + "/" + number,
              "/system.slice/" + std::to_string(any(8)) + ".service/" + number, "/mine/" + number};
          alive.push_back(makers[any(4)]);
          break;
        }
        case 2:
          if (alive.empty()) break;
          kernel_.rmdir(alive[any(static_cast<unsigned>(alive.size()))], any(8) != 0);
          break;
        case 3:
          if (alive.empty()) break;
          if (const auto& path = alive[any(static_cast<unsigned>(alive.size()))]; path.starts_with("/kubepods"))
            tree_.write("root/var/log/containers/web_default_c" + std::to_string(any(3)) + "-" +
                            path.substr(path.size() - 64) + ".log",
                        "");
          break;
        default:
          for (unsigned i = any(20); i > 0 && !alive.empty(); --i)
            kernel_.charge(alive[alive.size() - 1 - any(std::min<unsigned>(static_cast<unsigned>(alive.size()), 12))],
                           1 + any(1000));
      }
      round(static_cast<std::int64_t>(1 + any(10)) * kSecond);
      std::uint64_t sum = 0;
      for (const auto& [id, ns] : by_id_) sum += ns;
      for (const auto& [id, ns] : last) {
        const auto now = by_id_.find(id);
        if (now == by_id_.end()) ended += ns;
        else ASSERT_GE(now->second, ns) << table_.at(id)->owner.name << " in step " << step;
      }
      ASSERT_EQ(sum + ended, kernel_.charged) << "step " << step;
      last = by_id_;
    }
  }
}

TEST(CgroupFolders, IsStillThere) {
  CollectorFixture tree("loadavg");
  const Host host({tree.root() + "/proc", tree.root() + "/sys", tree.root() + "/root", ""});
  tree.write("proc/self/mounts", "cgroup2 " + tree.root() + "/sys cgroup2 rw 0 0\n");
  const CgroupFolders part(host, {});
  EXPECT_EQ(part.on_v2("/nowhere", 7), std::nullopt) << "not the whole hierarchy: its root's number is not 1";
  const Host real;
  const auto v1 = cpu_hierarchy(real);
  const CgroupFolders folders(real, v1);
  for (const auto& found : {folders.on_v2("/vitald-is-not-there", 7), folders.on_v1("/vitald-is-not-there", 7)})
    if (found) {
      EXPECT_FALSE(*found);
    }
  EXPECT_EQ(folders.on_v2("/a/...", 7), std::nullopt);
}

}  // namespace
}  // namespace vitald
