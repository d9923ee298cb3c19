// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "sensors/owner/resolver.h"
#include "sensors/owner/table.h"

#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

const std::string kId = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const std::string kOther = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const std::string kUid = "3f1f2b1c-9b5e-4d7e-8d35-2a7f6d1c0e55";
const std::string kUid_ = "3f1f2b1c_9b5e_4d7e_8d35_2a7f6d1c0e55";

std::string text(const Owner& o) {
  std::string out;
  for (const auto& l : owner_labels(o))
    out += (out.empty() ? "" : " ") + std::string(l.name) + "=" + std::string(l.value);
  return out;
}

TEST(Owner, FromPath) {
  struct Case {
    std::string path;
    OwnerKind kind;
    std::string name, container_id, pod_uid;
  };
  using enum OwnerKind;
  const Case cases[] = {
      {"/", host, "host", "", ""},
      {"", host, "host", "", ""},
      // systemd
      {"/init.scope", unit, "init.scope", "", ""},
      {"/system.slice/ssh.service", unit, "ssh.service", "", ""},
      {"/system.slice/system-getty.slice/getty@tty1.service", unit, "getty@tty1.service", "", ""},
      {"/system.slice/nginx.service/worker", unit, "nginx.service", "", ""},
      {"/system.slice", unit, "system.slice", "", ""},
      // numbered by who makes them: one owner
      {"/user.slice/user-1000.slice/session-3.scope", unit, "session-*.scope", "", ""},
      {"/user.slice/user-1000.slice/session-c12.scope", unit, "session-*.scope", "", ""},
      {"/user.slice/user-1000.slice/session-x.scope", unit, "session-x.scope", "", ""},
      {"/system.slice/run-r0123456789abcdef0123456789abcdef.scope", unit, "run-*.scope", "", ""},
      {"/system.slice/run-u17.service", unit, "run-*.service", "", ""},
      {"/system.slice/run-p812-i813.service", unit, "run-*.service", "", ""},
      {"/system.slice/run-4711.scope", unit, "run-*.scope", "", ""},
      {"/system.slice/run-backup.service", unit, "run-backup.service", "", ""},
      {"/system.slice/run-u17.mount", unit, "run-u17.mount", "", ""},
      {"/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome.scope", unit, "user@1000.service", "", ""},
      {"/system.slice/dev-hugepages.mount", unit, "dev-hugepages.mount", "", ""},
      // docker, both drivers; containerd's and podman's
      {"/docker/" + kId, container, kId.substr(0, 12), kId, ""},
      {"/system.slice/docker-" + kId + ".scope", container, kId.substr(0, 12), kId, ""},
      {"/system.slice/docker-" + kId + ".scope/system.slice/cron.service", container, kId.substr(0, 12), kId, ""},
      {"/machine.slice/libpod-" + kId + ".scope", container, kId.substr(0, 12), kId, ""},
      {"/machine.slice/libpod-" + kId + ".scope/container", container, kId.substr(0, 12), kId, ""},
      {"/machine.slice/libpod-conmon-" + kId + ".scope", unit, "libpod-conmon-" + kId + ".scope", "", ""},
      {"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + kId + ".scope", container,
       kId.substr(0, 12), kId, ""},
      {"/libpod_parent/libpod-" + kId, container, kId.substr(0, 12), kId, ""},
      // Kubernetes, systemd driver
      {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kUid_ + ".slice/cri-containerd-" + kId +
           ".scope",
       container, kId.substr(0, 12), kId, kUid},
      {"/kubepods.slice/kubepods-pod" + kUid_ + ".slice/crio-" + kId + ".scope", container, kId.substr(0, 12), kId,
       kUid},
      {"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + kUid_ + ".slice/docker-" + kId + ".scope",
       container, kId.substr(0, 12), kId, kUid},
      {"/kubepods.slice/kubepods-pod" + kUid_ + ".slice/crio-conmon-" + kId + ".scope", pod, kUid, "", kUid},
      {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kUid_ + ".slice", pod, kUid, "", kUid},
      {"/kubepods.slice/kubepods-pod" + kUid_ + ".slice/crio-" + kId + ".scope/container/init.scope", container,
       kId.substr(0, 12), kId, kUid},
      {"/kubepods.slice/kubepods-burstable.slice", unit, "kubepods-burstable.slice", "", ""},
      // static pods: the uid is a hash without dashes
      {"/kubepods.slice/kubepods-pod0123456789abcdef0123456789abcdef.slice/cri-containerd-" + kId + ".scope", container,
       kId.substr(0, 12), kId, "0123456789abcdef0123456789abcdef"},
      // Kubernetes, cgroupfs driver
      {"/kubepods/burstable/pod" + kUid + "/" + kId, container, kId.substr(0, 12), kId, kUid},
      {"/kubepods/pod" + kUid, pod, kUid, "", kUid},
      {"/kubepods/besteffort", other, "/kubepods/besteffort", "", ""},
      // containerd with a systemd slice and the cgroupfs driver
      {"/system.slice/containerd.service/kubepods-burstable-pod" + kUid_ + ".slice:cri-containerd:" + kId, container,
       kId.substr(0, 12), kId, kUid},
      // what is nested belongs to the outermost, whatever it is called: kind, a cluster inside docker; a container that
      // calls its cgroups like a guest, another container, a pod
      {"/system.slice/docker-" + kOther +
           ".scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
           "kubelet-kubepods-besteffort-pod" +
           kUid_ + ".slice/cri-containerd-" + kId + ".scope",
       container, kOther.substr(0, 12), kOther, ""},
      {"/docker/" + kOther + "/kubepods/besteffort/pod" + kUid + "/" + kId, container, kOther.substr(0, 12), kOther,
       ""},
      {"/docker/" + kOther + "/machine-qemu\\x2d3\\x2dweb.scope", container, kOther.substr(0, 12), kOther, ""},
      {"/kubepods/pod" + kUid + "/" + kOther + "/" + kId, container, kOther.substr(0, 12), kOther, kUid},
      {"/kubepods/pod" + kUid + "/mine/" + kId, pod, kUid, "", kUid},
      {"/system.slice/web.service/machine-qemu\\x2d3\\x2dweb.scope", unit, "web.service", "", ""},
      {"/system.slice/web.service/kubepods/pod" + kUid, unit, "web.service", "", ""},
      {"/system.slice/docker.service", unit, "docker.service", "", ""},
      // from inside a cgroup namespace
      {"/../kubepods/burstable/pod" + kUid + "/" + kId, container, kId.substr(0, 12), kId, kUid},
      // LXC, nspawn
      {"/lxc.payload.web", container, "web", "", ""},
      {"/lxc/web/init.scope", container, "web", "", ""},
      {"/machine.slice/systemd-nspawn@deb\\x2d12.service/payload", container, "deb-12", "", ""},
      {"/machine.slice/machine-deb\\x2d12.scope", container, "deb-12", "", ""},
      {"/machine.slice/machine-lxc\\x2d7\\x2dweb.scope", container, "web", "", ""},
      {"/machine/lxc-7-web.libvirt-lxc", container, "web", "", ""},
      // guests
      {"/machine.slice/machine-qemu\\x2d3\\x2dweb\\x2d1.scope/libvirt/vcpu0", guest, "web-1", "", ""},
      {"/machine.slice/machine-qemu\\x2d3\\x2dweb.scope", guest, "web", "", ""},
      {"/machine/qemu-12-w-kvm1.libvirt-qemu/emulator", guest, "w-kvm1", "", ""},
      // nothing known
      {"/mine/jobs", other, "/mine/jobs", "", ""},
      {"/docker/0123", other, "/docker/0123", "", ""},
      {"/x" + kId, other, "/x" + kId, "", ""},
      {"/kubepods/podcast", other, "/kubepods/podcast", "", ""},
      {"/machine.slice/machine-qemu\\x2dx.scope", container, "qemu-x", "", ""},
      // cut at the leaf
      {"/kubepods/besteffort/pod" + kUid + "/" + kId + "/a/b/...", container, kId.substr(0, 12), kId, kUid},
      {"/a/b/c/...", other, "/a/b/c/...", "", ""},
      {"/...", other, "/...", "", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.path);
    const auto o = owner_from_path(c.path);
    EXPECT_EQ(to_string(o.kind), to_string(c.kind));
    EXPECT_EQ(o.name, c.name);
    EXPECT_EQ(o.container_id, c.container_id);
    EXPECT_EQ(o.pod_uid, c.pod_uid);
    EXPECT_EQ(o.guest, c.kind == guest ? c.name : "");
  }
}

// What lies in a unit, or where pam_cgfs lets a user make cgroups, is called so by whoever runs it.
TEST(Owner, WithinWhat) {
  struct Case {
    std::string path, within;
  };
  const Case cases[] = {
      {"/lxc.payload.web", ""},
      {"/lxc/web", ""},
      {"/machine.slice/machine-web.scope", ""},
      {"/system.slice/containerd.service/kubepods-burstable-pod" + kUid + ".slice:cri-containerd:" + kId, ""},
      {"/user.slice/user-1000.slice/user@1000.service/lxc.payload.web", "user@1000.service"},
      {"/user.slice/user-1000.slice/session-3.scope/lxc/web", "session-3.scope"},
      {"/system.slice/web.service/machine.slice/machine-db.scope", "web.service"},
      {"/user/alice/0/lxc/web", "/user/alice"},
      {"/user/alice/0/docker-" + kId + ".scope", "/user/alice"},
      {"/user/alice/0/pod" + kUid + "/" + kId, "/user/alice"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.path);
    const auto o = owner_from_path(c.path);
    EXPECT_EQ(to_string(o.kind), to_string(OwnerKind::container));
    EXPECT_EQ(o.within, c.within);
    EXPECT_EQ(o.pod_uid, o.within.empty() && c.path.find("pod" + kUid) != std::string::npos ? kUid : "");
  }
}

TEST(Owner, OfTheTwoHierarchiesTheOneThatSaysMore) {
  struct Case {
    std::string name, v2, v1, owner;
  };
  const Case cases[] = {
      {"docker exec", "/system.slice/docker.service", "/docker/" + kId, kId.substr(0, 12)},
      {"only on v1", "/", "/system.slice/ssh.service", "ssh.service"},
      {"no v1", "/system.slice/ssh.service", "", "ssh.service"},
      {"v1 at its root", "/system.slice/ssh.service", "/", "ssh.service"},
      {"both say the same much", "/docker/" + kId, "/docker/" + kOther, kId.substr(0, 12)},
      {"a unit and a path", "/system.slice/a.scope", "/mine", "a.scope"},
      {"a slice and a unit", "/system.slice", "/system.slice/ssh.service", "ssh.service"},
      {"a guest of a v1 host", "/machine/qemu-1-web.libvirt-qemu", "/", "web"},
      {"nowhere", "/", "/", "host"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(owner_from_paths(c.v2, c.v1).name, c.owner);
  }
}

TEST(Owner, WhatIsDecidedWhere) {
  struct Case {
    std::string v2, v1, owned, responsible;  // the paths up to there
    bool in_v1 = false;
  };
  const Case cases[] = {
      {"/", "", "", ""},
      {"/", "/user/alice/0/lxc/web/init.scope", "/user/alice/0/lxc/web", "/user/alice", true},
      {"/", "/user/alice/0/x", "", "/user/alice", true},
      {"/system.slice", "", "", ""},
      {"/system.slice/web.service/a/b", "", "", "/system.slice/web.service"},
      {"/system.slice/docker.service/x", "", "", ""},
      {"/docker/" + kId + "/a/b", "", "/docker/" + kId, ""},
      {"/kubepods/pod" + kUid + "/" + kId + "/a", "", "/kubepods/pod" + kUid + "/" + kId, ""},
      {"/kubepods/pod" + kUid + "/a", "", "", "/kubepods/pod" + kUid},
      {"/user.slice/user@1000.service/docker-" + kId + ".scope/x", "",
       "/user.slice/user@1000.service/docker-" + kId + ".scope", "/user.slice/user@1000.service"},
      {"/machine/qemu-3-web.libvirt-qemu/vcpu0", "", "/machine/qemu-3-web.libvirt-qemu", ""},
      {"/lxc/web/init.scope", "", "/lxc/web", ""},
      {"/mine", "", "", ""},
      {"/mine/a/b", "", "", "/mine"},
      {"/docker/buildkit/x", "", "", "/docker/buildkit"},
      {"/docker/buildkit", "", "", ""},
      {"/system.slice/docker.service", "/docker/" + kId + "/a", "/docker/" + kId, "", true},
      {"/", "/mine/a", "", "/mine", true},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.v2 + " " + c.v1);
    OwnerPlace place;
    owner_from_paths(c.v2, c.v1, &place);
    EXPECT_EQ(place.v1, c.in_v1);
    const auto& path = place.v1 ? c.v1 : c.v2;
    EXPECT_EQ(first_names(path, place.owned), c.owned);
    EXPECT_EQ(first_names(path, place.responsible), c.responsible);
  }
}

struct Names : testing::Test {
  Names() : tree("loadavg"), host({tree.root() + "/proc", tree.root() + "/sys", tree.root() + "/root", ""}, &clock) {
    clock.advance_ns(1'000'000'000'000);
  }
  // The owner as it is called after `later_ns`.
  std::string owner(const std::string& path, std::int64_t later_ns = 0) {
    auto& table = host.shared<OwnerTable>();
    const auto id = table.hold({path, ""});
    clock.advance_ns(later_ns);
    table.cycle(clock.boot_ns());
    const auto labels = text(table.at(id)->owner);
    table.release(id);
    return labels;
  }
  FakeClock clock;
  CollectorFixture tree;
  Host host;
};

TEST_F(Names, FromLogFiles) {
  tree.write("root/var/log/pods/kube-system_coredns-7_" + kUid + "/coredns/0.log", "");
  tree.write("root/var/log/containers/coredns-7_kube-system_core-dns-" + kId + ".log", "");
  tree.write("root/var/log/containers/not a container.log", "");
  EXPECT_EQ(owner("/kubepods/burstable/pod" + kUid + "/" + kId),
            "owner_kind=container owner=kube-system/coredns-7/core-dns namespace=kube-system pod=coredns-7 "
            "container=core-dns");
  // the sandbox has no log; a container's may come a moment later
  const auto sandbox = "/kubepods/burstable/pod" + kUid + "/" + kOther;
  EXPECT_EQ(owner(sandbox, 9'000'000'000), "owner_kind=container owner=" + kOther.substr(0, 12));
  EXPECT_EQ(owner(sandbox, 1'000'000'000),
            "owner_kind=pod owner=kube-system/coredns-7 namespace=kube-system "
            "pod=coredns-7");
  EXPECT_EQ(owner("/kubepods/burstable/pod" + kUid),
            "owner_kind=pod owner=kube-system/coredns-7 namespace=kube-system pod=coredns-7");
  EXPECT_EQ(owner("/docker/" + kOther.substr(1) + "0"), "owner_kind=container owner=" + kOther.substr(1, 12));
  EXPECT_EQ(owner("/user.slice/user@1000.service/docker-" + kId + ".scope"),
            "owner_kind=container owner=" + kId.substr(0, 12) + " in user@1000.service")
      << "whoever may name cgroups inside a unit is not that container of the pod";
}

TEST_F(Names, ComeLater) {
  const auto path = "/kubepods/pod" + kUid + "/" + kId;
  EXPECT_EQ(owner(path), "owner_kind=container owner=" + kId.substr(0, 12));
  tree.write("root/var/log/containers/web_default_nginx-" + kId + ".log", "");
  EXPECT_EQ(owner(path, 4'900'000'000), "owner_kind=container owner=" + kId.substr(0, 12)) << "not read that often";
  EXPECT_EQ(owner(path, 100'000'000),
            "owner_kind=container owner=default/web/nginx namespace=default pod=web container=nginx");
}

TEST_F(Names, NoFolders) { EXPECT_EQ(owner("/kubepods/pod" + kUid), "owner_kind=pod owner=" + kUid); }

// A machine's name has only letters, digits, '-' and '.' of the guest's, and 64 characters in all.
TEST_F(Names, Guests) {
  const std::string lng = "k8s-prod-eu-w1-a-0-n-3f1f2b1c-9b5e-4d7e-8d35-2a7f6d1c0e55-worker-pool-blue-00000";
  const auto status = [](const std::string& id, const std::string& name) {
    return "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE.\n-->\n<domstatus state='running' reason='booted' "
           "pid='4211'>\n  <monitor path='/x' type='unix'/>\n  <domain type='kvm' id='" +
           id + "'>\n    <name>" + name + "</name>\n    <uuid>3f1f2b1c</uuid>\n  </domain>\n</domstatus>\n";
  };
  tree.write("root/run/libvirt/qemu/win_srv_01.xml", status("1", "win_srv_01"));
  tree.write("root/run/libvirt/qemu/" + lng + "1.xml", status("2", lng + "1"));
  tree.write("root/run/libvirt/qemu/" + lng + "2.xml", status("3", lng + "2"));
  tree.write("root/run/libvirt/qemu/a & b.xml", status("4", "a &amp; b"));
  tree.write("root/run/libvirt/qemu/web.xml", "<domstatus");
  struct Case {
    std::string path, guest;
  };
  const Case cases[] = {
      {"/machine/qemu-1-winsrv01.libvirt-qemu/vcpu0", "win_srv_01"},
      {"/machine/qemu-2-" + lng.substr(0, 57) + ".libvirt-qemu", lng + "1"},
      {"/machine/qemu-3-" + lng.substr(0, 57) + ".libvirt-qemu", lng + "2"},
      {"/machine.slice/machine-qemu\\x2d4\\x2dab.scope/libvirt", "a & b"},
      {"/machine/qemu-5-web.libvirt-qemu", "web"},         // no name there
      {"/machine/qemu-1-other.libvirt-qemu", "other"},     // that number is another guest's by now
      {"/machine/qemu-7-nowhere.libvirt-qemu", "nowhere"}  // no file
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.path);
    EXPECT_EQ(owner(c.path), "owner_kind=guest owner=" + c.guest + " guest=" + c.guest);
  }
}

// Two that differ only in what their machines' names have lost, seen in one cycle.
TEST_F(Names, GuestsOfOneMachineName) {
  const auto status = [](const std::string& id, const std::string& name) {
    return "<domstatus><domain type='kvm' id='" + id + "'><name>" + name + "</name></domain></domstatus>";
  };
  tree.write("root/run/libvirt/qemu/a_b.xml", status("1", "a_b"));
  tree.write("root/run/libvirt/qemu/ab.xml", status("2", "ab"));
  auto& table = host.shared<OwnerTable>();
  const auto one = table.hold({"/machine/qemu-1-ab.libvirt-qemu/vcpu0", ""}),
             same = table.hold({"/machine/qemu-1-ab.libvirt-qemu/emulator", ""}),
             two = table.hold({"/machine/qemu-2-ab.libvirt-qemu/vcpu0", ""});
  EXPECT_EQ(one, same);
  table.cycle(clock.boot_ns());
  EXPECT_EQ(table.at(one)->owner.name, "a_b");
  EXPECT_EQ(table.at(two)->owner.name, "ab");
  // Without their files they cannot be told apart, and are one.
  const auto three = table.hold({"/machine/qemu-3-x.libvirt-qemu", ""}),
             four = table.hold({"/machine/qemu-4-x.libvirt-qemu", ""});
  table.cycle(clock.boot_ns());
  EXPECT_EQ(table.at(three)->id, table.at(four)->id);
}

}  // namespace
}  // namespace vitald
