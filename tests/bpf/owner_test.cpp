// SPDX-License-Identifier: Apache-2.0
#include "sensors/owner/owner.h"

#include <gtest/gtest.h>

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
      {"/user.slice/user-1000.slice/session-3.scope", unit, "session-3.scope", "", ""},
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
      // kind: a cluster inside docker
      {"/system.slice/docker-" + kOther +
           ".scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
           "kubelet-kubepods-besteffort-pod" +
           kUid_ + ".slice/cri-containerd-" + kId + ".scope",
       container, kId.substr(0, 12), kId, kUid},
      {"/docker/" + kOther + "/kubepods/besteffort/pod" + kUid + "/" + kId, container, kId.substr(0, 12), kId, kUid},
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
      // the path is cut at the top when it is deeper than the kernel side reads
      {"besteffort/pod" + kUid + "/" + kId + "/a/b/c/d/e", container, kId.substr(0, 12), kId, kUid},
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

struct Names : testing::Test {
  Names() : tree("loadavg"), host({tree.root() + "/proc", tree.root() + "/sys", tree.root() + "/root", ""}, &clock) {}
  FakeClock clock;
  CollectorFixture tree;
  Host host;
};

TEST_F(Names, FromLogFiles) {
  tree.write("root/var/log/pods/kube-system_coredns-7_" + kUid + "/coredns/0.log", "");
  tree.write("root/var/log/containers/coredns-7_kube-system_core-dns-" + kId + ".log", "");
  tree.write("root/var/log/containers/not a container.log", "");
  OwnerResolver names(host);
  EXPECT_EQ(text(names.resolve("/kubepods/burstable/pod" + kUid + "/" + kId)),
            "owner_kind=container owner=kube-system/coredns-7/core-dns namespace=kube-system pod=coredns-7 "
            "container=core-dns");
  // the sandbox has no log
  EXPECT_EQ(text(names.resolve("/kubepods/burstable/pod" + kUid + "/" + kOther)),
            "owner_kind=pod owner=kube-system/coredns-7 namespace=kube-system pod=coredns-7");
  EXPECT_EQ(text(names.resolve("/kubepods/burstable/pod" + kUid)),
            "owner_kind=pod owner=kube-system/coredns-7 namespace=kube-system pod=coredns-7");
  EXPECT_EQ(text(names.resolve("/docker/" + kOther)), "owner_kind=container owner=" + kOther.substr(0, 12));
}

TEST_F(Names, ComeLater) {
  OwnerResolver names(host);
  const auto path = "/kubepods/pod" + kUid + "/" + kId;
  EXPECT_EQ(text(names.resolve(path)), "owner_kind=container owner=" + kId.substr(0, 12));
  tree.write("root/var/log/containers/web_default_nginx-" + kId + ".log", "");
  clock.advance_ns(4'999'999'999);
  EXPECT_EQ(text(names.resolve(path)), "owner_kind=container owner=" + kId.substr(0, 12)) << "not read that often";
  clock.advance_ns(1);
  EXPECT_EQ(text(names.resolve(path)),
            "owner_kind=container owner=default/web/nginx namespace=default pod=web container=nginx");
}

TEST_F(Names, NoFolders) {
  OwnerResolver names(host);
  EXPECT_EQ(text(names.resolve("/kubepods/pod" + kUid)), "owner_kind=pod owner=" + kUid);
}

}  // namespace
}  // namespace vitald
