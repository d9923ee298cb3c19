// SPDX-License-Identifier: Apache-2.0
// Without a hypervisor: what libvirt says as data, and its built-in test driver. Real guests are in
// tests/virt/libvirt_test.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libvirt/libvirt.h>

#include <chrono>
#include <cmath>
#include <thread>

#include "sensors/virt/guest.h"
#include "sensors/virt/kubevirt.h"
#include "sensors/virt/qemu_threads.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

using testing::HasSubstr;

double number(const virt::Guest& g, std::string_view metric) {
  for (std::size_t i = 0; i < std::size(virt::kDomainRows); ++i)
    if (virt::kDomainRows[i].desc.name == metric) return g.numbers.values[i];
  ADD_FAILURE() << "no such row: " << metric;
  return 0;
}
double number(const virt::Block& b, std::string_view key) {
  for (std::size_t i = 0; i < std::size(virt::kBlockRows); ++i)
    if (virt::kBlockRows[i].key == key) return b.numbers.values[i];
  return 0;
}

TEST(LibvirtGuest, TakesWhatTheBulkCallGives) {
  virt::Guest g;
  const std::pair<const char*, double> params[] = {
      {"state.state", 1},
      {"state.reason", 1},
      {"cpu.time", 303223000},
      {"balloon.current", 32768},
      {"balloon.last-update", 0},
      {"vcpu.current", 2},
      {"vcpu.maximum", 4},
      {"vcpu.0.time", 50000000},
      {"vcpu.0.exits.sum", 211},
      {"vcpu.1.delay", 9},
      {"vcpu.x.delay", 9},
      {"net.count", 1},
      {"block.count", 2},
      {"block.0.rd.bytes", 7},
      {"block.99999999999.x", 1},
      {"block.-1.rd.bytes", 1},
      {"block.", 1},
      {"block", 1},
      {"", 1},
      {"vcpu.1", 1},
      {"newer.than.us", 1},
  };
  for (const auto& [key, value] : params) g.take(key, value);
  g.take("block.0.name", "vda");
  g.take("block.0.path", "/x");
  EXPECT_EQ(number(g, "libvirt_domain_info_vstate"), 1);
  EXPECT_EQ(number(g, "libvirt_domain_info_memory_usage_bytes"), 32768);  // one key, two series
  EXPECT_EQ(number(g, "libvirt_domain_memory_stats_actual_balloon_bytes"), 32768);
  EXPECT_TRUE(std::isnan(number(g, "libvirt_domain_memory_stats_unused_bytes")));
  EXPECT_TRUE(std::isnan(number(g, "libvirt_domain_memory_stats_last_update_timestamp_seconds")));
  ASSERT_EQ(g.vcpus.size(), 2U);
  EXPECT_EQ(g.vcpus[0].numbers.values[1], 50000000);
  EXPECT_TRUE(std::isnan(g.vcpus[1].numbers.values[1]));
  ASSERT_EQ(g.blocks.size(), 2U);
  EXPECT_EQ(g.blocks[0].name, "vda");
  EXPECT_EQ(number(g.blocks[0], "rd.bytes"), 7);
  EXPECT_TRUE(std::isnan(number(g.blocks[1], "rd.bytes")));
  EXPECT_EQ(g.nets.size(), 1U);

  // Only what the next call will bring is forgotten.
  g.forget(VIR_DOMAIN_STATS_STATE | VIR_DOMAIN_STATS_INTERFACE);
  EXPECT_TRUE(std::isnan(number(g, "libvirt_domain_info_vstate")));
  EXPECT_EQ(number(g.blocks[0], "rd.bytes"), 7);
  g.forget(VIR_DOMAIN_STATS_BLOCK | VIR_DOMAIN_STATS_VCPU | VIR_DOMAIN_STATS_BALLOON);
  EXPECT_TRUE(std::isnan(number(g.blocks[0], "rd.bytes")));
  EXPECT_TRUE(std::isnan(number(g, "libvirt_domain_info_memory_usage_bytes")));
  EXPECT_TRUE(g.vcpus.empty());
  EXPECT_EQ(number(g, "libvirt_domain_info_cpu_time_seconds_total"), 303223000);
}

constexpr std::string_view kXml = R"(<?xml version='1.0'?>
<!-- a > comment -->
<domain type='kvm' id='2'>
  <name>web</name>
  <metadata>
    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
      <nova:name>inst &amp; &#x41;&#66;</nova:name>
      <nova:flavor name="m1.tiny"><nova:memory>32</nova:memory></nova:flavor>
      <nova:owner><nova:user uuid="u-1">alice</nova:user><nova:project uuid="p-1">de<![CDATA[]]>mo</nova:project></nova:owner>
      <nova:root type="image" uuid="img-1"/>
    </nova:instance>
  </metadata>
  <memory unit='KiB'>32768</memory>
  <vcpu placement='static'>2</vcpu>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none' discard='unmap'/>
      <source file='/images/a &lt;b&gt;.qcow2' index='2'/>
      <backingStore type='file'><source file='/images/base.img'/></backingStore>
      <target dev='vda' bus='virtio'/>
      <serial>SER1</serial>
    </disk>
    <disk type='network' device='disk'><source protocol='rbd' name='pool/image'/><target dev='vdb' bus="scsi"/></disk>
    <interface type='bridge'>
      <mac address='52:54:00:27:b4:38'/>
      <source bridge='br0'/>
      <virtualport type='openvswitch'><parameters interfaceid='if-1'/></virtualport>
      <target dev='vnet0'/>
      <model type='virtio'/>
      <mtu size='9000'/>
    </interface>
  </devices>
</domain>
)";

// A tree as the host has it; the real thing is in tests/virt.
TEST(LibvirtThreads, VcpusFromProc) {
  const Tree good = {
      {"root/run/libvirt/qemu/web.pid", "27061"},
      {"proc/27061/cmdline", std::string("/usr/bin/qemu-system-x86_64\0-name\0guest=web,debug-threads=on\0", 61)},
      {"proc/27061/task/27061/comm", "qemu-system-x86\n"},
      {"proc/27061/task/27070/comm", "CPU 1/KVM\n"},
      {"proc/27061/task/27070/schedstat", "97493446 161098745 3816\n"},
      {"proc/27061/task/27069/comm", "CPU 0/KVM\n"},
      {"proc/27061/task/27069/schedstat", "19175678812 7482421634 36980\n"},
  };
  struct Case {
    const char *name, *path, *content;
    std::size_t vcpus;
  };
  const Case cases[] = {
      {"two", "proc/27061/task/27071/comm", "CPU \n", 2},
      {"a stat without columns", "proc/27061/task/27070/stat", "27070 (CPU 1/KVM) S 1", 2},
      {"no pid file", "root/run/libvirt/qemu/web.pid", "", 0},
      {"another guest", "proc/27061/cmdline", "qemu-system-x86_64 -name guest=web2,debug-threads=on", 0},
      {"no SCHED_INFO", "proc/27061/task/27070/schedstat", "0 0 0\n", 0},
      {"torn", "proc/27061/task/27070/schedstat", "97493446 16", 0},
      {"unnamed threads", "proc/27061/task/27070/comm", "qemu-system-x86\n", 1},
      {"an index that cannot be", "proc/27061/task/27070/comm", "CPU 4096/KVM\n", 1},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    CollectorFixture fixture("libvirt", good);
    fixture.write(c.path, c.content);
    const auto& root = fixture.root();
    const Host host({root + "/proc", root + "/sys", root + "/root", root + "/udev"});
    virt::QemuThreads threads;
    EXPECT_EQ(threads.find(host, "web"), c.vcpus > 0);
    std::vector<virt::Vcpu> vcpus;
    threads.read(vcpus, false);
    ASSERT_EQ(vcpus.size(), c.vcpus);
    if (c.vcpus == 0) continue;
    EXPECT_EQ(vcpus[0].numbers.values[1], 19175678812);
    EXPECT_EQ(vcpus[0].numbers.values[2], 7482421634);
    EXPECT_TRUE(std::isnan(vcpus[0].numbers.values[0]));
    fixture.remove("proc/27061");  // the guest ended
    threads.read(vcpus, false);
    EXPECT_TRUE(std::isnan(vcpus[0].numbers.values[1]));
  }
}

TEST(LibvirtThreads, VcpusThatArePluggedAndUnplugged) {
  CollectorFixture fixture("libvirt", {{"root/run/libvirt/qemu/a.pid", "7"},
                                       {"proc/7/cmdline", std::string("qemu\0-name\0guest=a,debug-threads=on\0", 37)},
                                       {"proc/7/task/7/comm", "qemu\n"},
                                       {"proc/7/task/8/comm", "CPU 0/KVM\n"},
                                       {"proc/7/task/8/schedstat", "5 6 7\n"}});
  const auto& root = fixture.root();
  const Host host({root + "/proc", root + "/sys", root + "/root", root + "/udev"});
  virt::QemuThreads threads;
  EXPECT_FALSE(threads.changed(host)) << "nothing was found yet";
  ASSERT_TRUE(threads.find(host, "a"));
  EXPECT_FALSE(threads.changed(host));
  fixture.write("proc/7/task/9/comm", "worker\n");
  EXPECT_FALSE(threads.changed(host)) << "a thread for the disk";
  fixture.remove("proc/7/task/9");
  EXPECT_FALSE(threads.changed(host));
  fixture.write("proc/7/task/10/comm", "CPU 1/KVM\n");
  fixture.write("proc/7/task/10/schedstat", "5 6 7\n");
  EXPECT_TRUE(threads.changed(host)) << "plugged";
  EXPECT_TRUE(threads.changed(host)) << "until it is found";
  ASSERT_TRUE(threads.find(host, "a"));
  EXPECT_EQ(threads.count(), 2U);
  EXPECT_FALSE(threads.changed(host));
  fixture.remove("proc/7/task/10");
  EXPECT_TRUE(threads.changed(host)) << "unplugged";
}

TEST(LibvirtThreads, WhereTheyRanAndHowLongTheyWereThrottled) {
  const std::string stat =
      "27070 (CPU ) 0/KVM) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 "
      "28 29 30 31 32 33 34 35 3 0 0\n";
  const std::string group = "sys/fs/cgroup/machine.slice/machine-qemu\\x2d1\\x2da.scope";
  CollectorFixture fixture(
      "libvirt", {
                     {"root/run/libvirt/qemu/a,b.pid", "7"},
                     {"proc/7/cmdline", std::string("qemu\0-name\0guest=a,,b,debug-threads=on\0", 40)},
                     {"proc/7/cgroup", "0::/machine.slice/machine-qemu\\x2d1\\x2da.scope/libvirt/emulator\n"},
                     {"proc/7/task/8/comm", "CPU 0/KVM\n"},
                     {"proc/7/task/8/schedstat", "5 6 7\n"},
                     {"proc/7/task/8/stat", stat},
                     {group + "/cpu.stat", "usage_usec 9\nnr_periods 10\nnr_throttled 1\nthrottled_usec 500000\n"},
                     {group + "/libvirt/vcpu0/cpu.stat", "nr_throttled 2\nthrottled_usec 1000000\n"},
                     {group + "/libvirt/vcpu1/cpu.stat", "nr_throttled 3\nthrottled_usec 250000\n"},
                     {group + "/libvirt/emulator/cpu.stat", "usage_usec 9\n"},  // no cpu controller
                     {group + "/libvirt/iothread1/cpu.stat", "nr_throttled\nthrottled_usec x\n"},
                 });
  const auto& root = fixture.root();
  const Host host({root + "/proc", root + "/sys", root + "/root", root + "/udev"});
  virt::QemuThreads threads;
  ASSERT_TRUE(threads.find(host, "a,b"));
  std::vector<virt::Vcpu> vcpus;
  threads.read(vcpus, true);
  ASSERT_EQ(vcpus.size(), 1U);
  EXPECT_EQ(vcpus[0].numbers.values[4], 3);
  const auto throttled = threads.throttled();
  ASSERT_EQ(throttled.size(), 2U);
  EXPECT_EQ(throttled[0].part, "guest");
  EXPECT_EQ(throttled[0].seconds, 0.5);
  EXPECT_EQ(throttled[1].part, "vcpu");
  EXPECT_EQ(throttled[1].seconds, 1.25);
  EXPECT_EQ(throttled[1].periods, 5);

  // Unplugged, found so, plugged again, and that once more without having been looked for: it never counts backwards.
  const auto of_vcpus = [&threads] { return threads.throttled()[1].seconds; };
  fixture.remove(group + "/libvirt/vcpu1");
  EXPECT_EQ(of_vcpus(), 1.25);
  ASSERT_TRUE(threads.find(host, "a,b"));
  EXPECT_EQ(of_vcpus(), 1.25);
  fixture.write(group + "/libvirt/vcpu1/cpu.stat", "nr_throttled 1\nthrottled_usec 125000\n");
  ASSERT_TRUE(threads.find(host, "a,b"));
  EXPECT_EQ(of_vcpus(), 1.375);
  fixture.write(group + "/libvirt/vcpu1/cpu.stat", "nr_throttled 0\nthrottled_usec 0\n");
  EXPECT_EQ(of_vcpus(), 1.375);

  // What libvirtd itself is in is not the guest's.
  fixture.write("proc/7/cgroup", "0::/system.slice/libvirtd.service\n");
  ASSERT_TRUE(threads.find(host, "a,b"));
  EXPECT_TRUE(threads.throttled().empty());
}

TEST(LibvirtGuest, TheRarerGroups) {
  virt::Guest g;
  for (const auto& [key, value] : std::initializer_list<std::pair<const char*, double>>{
           {"vcpu.0.exits.sum", 11},
           {"vcpu.0.io_exits.sum", 4},
           {"vcpu.1.irq_window_exits.sum", 5},
           {"vcpu.1.hypercalls.sum", 6},
           {"vcpu.1.halt_exits.cur", 7},
           {"vm.pages_2m.cur", 8},
           {"vm.pages_3m.cur", 9},
           {"perf.instructions", 10},
           {"iothread.count", 1},
           {"iothread.1.poll-max-ns", 32768},
           {"memory.bandwidth.monitor.count", 1},
           {"memory.bandwidth.monitor.0.node.count", 1},
           {"memory.bandwidth.monitor.0.node.0.id", 1},
           {"memory.bandwidth.monitor.0.node.0.bytes.local", 12},
           {"memory.bandwidth.monitor.0.node.0.bytes.total", 13},
           {"memory.bandwidth.monitor.x", 1},
           {"dirtyrate.megabytes_per_second", 2},
           {"cpu.haltpoll.fail.time", 14},
       })
    g.take(key, value);
  g.take("memory.bandwidth.monitor.0.name", "vcpus_0-1");
  ASSERT_EQ(g.vcpus.size(), 2U);
  EXPECT_EQ(g.vcpus[0].exits, 11);
  EXPECT_EQ(g.vcpus[0].exit_kinds[2], 4);
  EXPECT_EQ(g.vcpus[1].exit_kinds[4], 5);
  EXPECT_EQ(g.vcpus[1].exit_kinds[1], 6);
  EXPECT_TRUE(std::isnan(g.vcpus[1].exit_kinds[0]));
  EXPECT_EQ(g.pages[1], 8);
  EXPECT_EQ(g.perf.at("instructions"), 10);
  ASSERT_EQ(g.iothreads.size(), 2U);
  EXPECT_EQ(g.iothreads[1].poll_max_ns, 32768);
  ASSERT_EQ(g.bandwidth.size(), 1U);
  EXPECT_EQ(g.bandwidth[0].name, "vcpus_0-1");
  EXPECT_EQ(g.bandwidth[0].nodes.at(0).total_bytes, 13);
  EXPECT_EQ(number(g, "vitald_guest_dirty_rate_bytes_per_second"), 2);
  EXPECT_FALSE(g.told);
  g.take("balloon.current", 1), g.take("cpu.time", 1);
  EXPECT_FALSE(g.told) << "libvirtd knows these itself";
  g.take("balloon.rss", 1);
  EXPECT_TRUE(g.told);
  g.forget(VIR_DOMAIN_STATS_BALLOON | VIR_DOMAIN_STATS_PERF | VIR_DOMAIN_STATS_VM | VIR_DOMAIN_STATS_MEMORY);
  EXPECT_FALSE(g.told);
  EXPECT_TRUE(g.ever_told && g.perf.empty() && g.bandwidth.empty() && std::isnan(g.pages[1]));
}

TEST(LibvirtXml, SourcesOfDisks) {
  struct Case {
    const char *name, *disk, *want;
  };
  for (const auto& c : std::initializer_list<Case>{
           {"file", "<source file='/a'/>", "/a"},
           {"block", "<source dev='/dev/sdb'/>", "/dev/sdb"},
           {"dir", "<source dir='/iso'/>", "/iso"},
           {"network", "<source protocol='nbd' name='export'><host name='h' port='1'/></source>", "export"},
           {"volume", "<source pool='p' volume='v'/>", "p/v"},
           {"nvme",
            "<source type='pci' namespace='1'><address domain='0x0000' bus='0x3e' slot='0x1f' "
            "function='0x7'/></source>",
            "0000:3e:1f.7"},
           {"vhostuser", "<source type='unix' path='/run/blk.sock'/>", "/run/blk.sock"},
           {"vhostvdpa", "<source dev='/dev/vhost-vdpa-0'/>", "/dev/vhost-vdpa-0"},
           {"an empty drive", "", ""},
           {"what it is backed by is another disk's", "<backingStore><source file='/b'/></backingStore>", ""},
       }) {
    const auto g = virt::parse_domain_xml(std::string("<domain><devices><disk type='x'>") + c.disk +
                                          "<target dev='vda'/></disk></devices></domain>");
    ASSERT_TRUE(g) << c.name;
    EXPECT_EQ(g->disks.at(0).source, c.want) << c.name;
    EXPECT_TRUE(g->disks[0].limits.empty());
  }
  const auto g = virt::parse_domain_xml(
      "<domain><devices><disk><iotune><total_bytes_sec>1048576</total_bytes_sec><write_iops_sec_max>7</"
      "write_iops_sec_max>"
      "<group_name>9</group_name></iotune></disk></devices></domain>");
  ASSERT_TRUE(g);
  ASSERT_EQ(g->disks[0].limits.size(), std::size(virt::kLimits));
  EXPECT_EQ(g->disks[0].limits[0], 1048576);
  EXPECT_EQ(g->disks[0].limits[11], 7);
  EXPECT_EQ(g->disks[0].limits[1], 0);
}

TEST(LibvirtXml, Labels) {
  const auto g = virt::parse_domain_xml(kXml);
  ASSERT_TRUE(g) << g.error().text;
  EXPECT_EQ(g->nova_name, "inst & AB");
  EXPECT_EQ(g->flavor, "m1.tiny");
  EXPECT_EQ(g->user + g->user_uuid, "aliceu-1");
  EXPECT_EQ(g->project_uuid, "p-1");
  EXPECT_EQ(g->root_type + g->root_uuid, "imageimg-1");
  EXPECT_EQ(g->memory_bytes, 32 << 20);
  EXPECT_EQ(g->vcpus, 2);
  EXPECT_EQ(g->os_type + g->arch + g->machine, "hvmx86_64pc-q35-7.2");
  ASSERT_EQ(g->disks.size(), 2U);
  const auto& d = g->disks[0];
  EXPECT_EQ(d.source, "/images/a <b>.qcow2");
  EXPECT_EQ(d.target + d.bus + d.serial + d.driver_type + d.cache + d.discard, "vdavirtioSER1qcow2noneunmap");
  EXPECT_EQ(g->disks[1].source + g->disks[1].protocol + g->disks[1].bus, "pool/imagerbdscsi");
  ASSERT_EQ(g->nics.size(), 1U);
  const auto& n = g->nics[0];
  EXPECT_EQ(n.bridge + n.target + n.model + n.mtu + n.virtual_interface, "br0vnet0virtio9000if-1");
}

// The text is what it may have, `current` what it starts with.
TEST(LibvirtXml, Vcpus) {
  struct Case {
    const char *name, *xml;
    double vcpus, most;
  };
  const Case cases[] = {
      {"all of them", "<vcpu>8</vcpu>", 8, 8},
      {"some", "<vcpu placement='static' current='2'>8</vcpu>", 2, 8},
      {"of two names", "<vcpu current='2'>8</vcpu><vcpus><vcpu id='0' enabled='yes'/></vcpus>", 2, 8},
      {"no number", "<vcpu current='x'>8</vcpu>", 8, 8},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto g = virt::parse_domain_xml(std::string("<domain type='kvm'>") + c.xml + "</domain>");
    ASSERT_TRUE(g);
    EXPECT_EQ(g->vcpus, c.vcpus);
    EXPECT_EQ(g->most_vcpus, c.most);
  }
}

TEST(LibvirtXml, UnitsOfMemory) {
  struct Case {
    const char* xml;
    double bytes;
  };
  const Case cases[] = {{"<memory unit='KiB'>3018752</memory>", 3018752 * 1024.0},
                        {"<memory>524288</memory>", 524288 * 1024.0},
                        {"<memory unit=\"MiB\">2048</memory>", 2147483648},
                        {"<memory unit='GB'>2</memory>", 2e9},
                        {"<memory unit='TiB'>1</memory>", 1099511627776},
                        {"<memory unit='T'>1</memory>", 1099511627776},
                        {"<memory unit='bytes'>4096</memory>", 4096},
                        {"<memory unit='pages'>4096</memory>", virt::kNone},
                        {"<memory unit='KiB'>much</memory>", virt::kNone}};
  for (const auto& c : cases) {
    const auto g = virt::parse_domain_xml(std::string("<domain>") + c.xml + "</domain>");
    ASSERT_TRUE(g) << c.xml;
    EXPECT_TRUE(std::isnan(c.bytes) ? std::isnan(g->memory_bytes) : g->memory_bytes == c.bytes) << c.xml;
  }
}

// Parts of public reports.
TEST(LibvirtXml, WhatRealHostsHave) {
  struct Case {
    const char *name, *xml;
    std::string told;  // of disks "target=source", of nics "target/type/bridge", "instance:" nova's name
  };
  const Case cases[] = {
      {"an interface without a target (VFIO)",
       "<devices><interface type='hostdev' managed='yes'><mac address='AA:BB:CC:DD:EE:FF'/><driver name='vfio'/>"
       "<source><address type='pci' domain='0x0000' bus='0x04' slot='0x10' function='0x4'/></source>"
       "<model type='virtio'/><alias name='hostdev0'/></interface>"
       "<interface type='bridge'><source bridge='br0'/><target dev='vnet1'/></interface></devices>",
       "/hostdev/ vnet1/bridge/br0 "},
      {"a CD drive without a disc",
       "<devices><disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='hdc' bus='ide'/>"
       "<readonly/></disk><disk type='block' device='disk'><source dev='/dev/vg_data/ftp.data'/>"
       "<target dev='vdb' bus='virtio'/></disk></devices>",
       "hdc= vdb=/dev/vg_data/ftp.data "},
      {"oVirt: prefixes that nobody declared, devices in its metadata",
       "<metadata><ovirt-tune:qos/><ovirt-vm:vm><ovirt-vm:device devtype=\"disk\" name=\"vda\">"
       "<ovirt-vm:poolID>0</ovirt-vm:poolID></ovirt-vm:device></ovirt-vm:vm></metadata>"
       "<devices><disk type='file'><source file='/rhev/x'/><target dev='sda'/></disk></devices>",
       "sda=/rhev/x "},
      {"KubeVirt: a namespace without a prefix, with elements that are called as libvirt's",
       "<metadata><kubevirt xmlns=\"http://kubevirt.io\"><uid>616dde5c</uid><devices><disk><target dev='no'/></disk>"
       "</devices></kubevirt></metadata><devices><disk type='file'><source file='/run/d.qcow2'/><backingStore "
       "type='file'>"
       "<format type='raw'/><source file='/base'/><backingStore/></backingStore><target dev='vda'/></disk></devices>",
       "vda=/run/d.qcow2 "},
      {"OpenStack: an address of nova's ports, which is no interface",
       "<metadata><nova:instance xmlns:nova=\"http://openstack.org/xmlns/libvirt/nova/1.1\"><nova:name>VM_AT_01"
       "</nova:name><nova:ports><nova:port uuid=\"p\"><nova:ip type=\"fixed\" address=\"10.0.0.1\"/></nova:port>"
       "</nova:ports></nova:instance></metadata><devices><disk type='network'><auth username='cinder'>"
       "<secret type='ceph' uuid='u'/></auth><source protocol='rbd' name='volumes/volume-1'><host name='10.0.0.2' "
       "port='6789'/></source><target dev='vda' bus='virtio'/></disk></devices>",
       "vda=volumes/volume-1 instance:VM_AT_01"},
      {"a comment before the domain, as of a file in /etc/libvirt", "<title>a &lt;b&gt; &#169;</title><name>x</name>",
       ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto g = virt::parse_domain_xml(std::string("<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE.\n-->\n\n<domain "
                                                      "type='kvm'>") +
                                          c.xml + "</domain>");
    ASSERT_TRUE(g);
    std::string told;
    for (const auto& d : g->disks) told += d.target + "=" + d.source + " ";
    for (const auto& n : g->nics) told += n.target + "/" + n.type + "/" + n.bridge + " ";
    if (!g->nova_name.empty()) told += "instance:" + g->nova_name;
    EXPECT_EQ(told, c.told);
  }
}

TEST(LibvirtXml, Damage) {
  const auto end = kXml.rfind('>');  // what comes behind it may be missing
  for (std::size_t n = 0; n < end; ++n) EXPECT_FALSE(virt::parse_domain_xml(kXml.substr(0, n))) << n;
  for (const auto* text :
       {"</a>", "<>", "<a", "<a b=\"", "<a b='x>", "<![CDATA[", "<!--", "<domain><disk/></domain></x>",
        "<domain><devices/disk/target></domain>", "", "no xml", "<a b/>", "<a =/>", "<domain><os></domain></os>",
        "<domain a='1' a='2'/>", "<domain>&x;</domain>", "<domain>\xff</domain>", "<domain/><domain/>"})
    EXPECT_FALSE(virt::parse_domain_xml(text)) << text;
  for (const auto* text :
       {"<domain/>", "<domain><devices><disk/></devices></domain>", "\n<domain/>\n",
        "<?xml version='1.0'?><!-- by virsh --><domain/>", "<domain><metadata><x:y/></metadata></domain>"})
    EXPECT_TRUE(virt::parse_domain_xml(text)) << text;
  EXPECT_EQ(virt::parse_domain_xml("<domain>\n<os>\n</domain>").error().text,
            "libvirt: a domain's XML: line 3: mismatched tag");
}

// As virt-handler of KubeVirt calls them, labels included.
TEST(LibvirtKubevirt, Names) {
  virt::Guest g;
  g.name = "team-a_web-0";
  g.id = 3;
  for (const auto& [key, value] :
       std::initializer_list<std::pair<const char*, double>>{{"cpu.time", 12'500'000'000},
                                                             {"cpu.user", 1e9},
                                                             {"cpu.system", 2e9},
                                                             {"balloon.current", 1024},
                                                             {"balloon.maximum", 2048},
                                                             {"balloon.rss", 3},
                                                             {"vcpu.0.state", 1},
                                                             {"vcpu.0.time", 5e9},
                                                             {"vcpu.0.delay", 5e8},
                                                             {"vcpu.0.wait", 0},
                                                             {"vcpu.1.state", 7},
                                                             {"vcpu.1.time", 6e9},
                                                             {"block.count", 2},
                                                             {"block.0.rd.reqs", 4},
                                                             {"block.0.wr.times", 25e7},
                                                             {"block.1.fl.reqs", 9},
                                                             {"net.count", 1},
                                                             {"net.0.rx.bytes", 77},
                                                             {"net.0.tx.drop", 1},
                                                             {"dirtyrate.megabytes_per_second", 2}})
    g.take(key, value);
  g.take("block.0.name", "vda");
  g.take("block.1.name", "vdb");
  g.take("net.0.name", "tap0");
  const auto info = virt::parse_domain_xml(
      "<domain><devices><disk><target dev='vda'/><alias name='ua-rootdisk'/></disk><disk><alias name='virtio-disk1'/>"
      "<target dev='vdb'/></disk><interface><target dev='tap0'/><alias "
      "name='ua-default'/></interface></devices></domain>");
  ASSERT_TRUE(info);
  g.info = *info;
  const auto text = [&g] {
    BatchWriter out("libvirt");
    out.begin(0);
    virt::emit_kubevirt(out, g, "node7");
    return exposition(*out.finish({}, 0, 0));
  };
  const std::string own = "name=\"web-0\",namespace=\"team-a\",node=\"node7\"";
  const auto of = [&own](const char* family, const std::string& before, const char* value,
                         const std::string& after = "") {
    return std::string("kubevirt_vmi_") + family + "{" + before + own + after + "} " + value + "\n";
  };
  EXPECT_EQ(text(), of("cpu_usage_seconds_total", "", "12.5") + of("cpu_user_usage_seconds_total", "", "1") +
                        of("cpu_system_usage_seconds_total", "", "2") + of("memory_resident_bytes", "", "3072") +
                        of("memory_actual_balloon_bytes", "", "1048576") + of("memory_domain_bytes", "", "2097152") +
                        of("dirty_rate_bytes_per_second", "", "2097152") +
                        of("vcpu_seconds_total", "id=\"0\",", "5", ",state=\"running\"") +
                        of("vcpu_wait_seconds_total", "id=\"0\",", "0") +
                        of("vcpu_delay_seconds_total", "id=\"0\",", "0.5") +
                        of("vcpu_seconds_total", "id=\"1\",", "6", ",state=\"unknown\"") +
                        of("storage_iops_read_total", "drive=\"rootdisk\",", "4") +
                        of("storage_write_times_seconds_total", "drive=\"rootdisk\",", "0.25") +
                        of("storage_flush_requests_total", "drive=\"vdb\",", "9") +
                        of("network_receive_bytes_total", "interface=\"default\",", "77") +
                        of("network_transmit_packets_dropped_total", "interface=\"default\",", "1"));
  // Not KubeVirt's: no namespace.
  g = {};
  g.name = "web";
  g.take("cpu.time", 1e9);
  EXPECT_EQ(text(), "kubevirt_vmi_cpu_usage_seconds_total{name=\"web\",node=\"node7\"} 1\n");
}

TEST(Libvirt, AbsentWithoutASocket) {
  EXPECT_EQ(run_collector("libvirt", {}).error,
            "absent: /root/run/libvirt: no socket of libvirt there; is libvirtd installed?");
}

// Answers state only, but through all of connecting, the bulk call and the XML.
TEST(Libvirt, TestDriver) {
  CollectorFixture fixture("libvirt", {},
                           {{"collector.libvirt.uri", "test:///default"},
                            {"collector.libvirt.compat", "tinkoff,inovex,kumina"},
                            {"collector.libvirt.labels", "domain"}});
  const auto run = fixture.run();
  EXPECT_EQ(run.error, "");
  for (const auto* line :
       {"libvirt_up 1\n", "libvirt_domain_info_vstate{domain=\"test\"} 1\n",
        "libvirt_domain_state_code{domain=\"test\"} 1\n", "libvirt_domains 1\n", "libvirt_domains_number 1\n",
        "libvirt_domain_info_state{domain=\"test\",state_desc=\"the domain is running\"} 1\n",
        "libvirt_domain_info{domain=\"test\",os_type=\"hvm\",os_type_arch=\"i686\",os_type_machine=\"\"} 1\n"})
    EXPECT_THAT(run.text, HasSubstr(line));
  // What is asked beside comes with a later run.
  std::string text;
  for (int i = 0; i < 1000 && text.find("libvirt_storage_pool_state") == text.npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const auto later = fixture.run();
    EXPECT_EQ(later.error, "");
    text = later.text;
  }
  for (const auto* line :
       {"libvirt_pool_info_capacity_bytes{pool=\"default-pool\"} 107374182400\n",
        "libvirt_storage_pool_state{storage_pool=\"default-pool\"} 2\n",
        "libvirt_storage_pool_timed_out{storage_pool=\"default-pool\"} 0\n",
        "vitald_libvirt_network_active{bridge=\"virbr0\",network=\"default\"} 1\n", "vitald_libvirt_node_cpus 16\n"})
    EXPECT_THAT(text, HasSubstr(line));
}

TEST(Libvirt, NothingListens) {
  const auto run = run_collector("libvirt", {}, {{"collector.libvirt.uri", "qemu:///system?socket=/nonexistent/sock"}});
  EXPECT_EQ(run.text, "libvirt_up 0\n");
  EXPECT_THAT(run.error, HasSubstr("/nonexistent/sock"));
}

}  // namespace
}  // namespace vitald
