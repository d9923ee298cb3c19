// SPDX-License-Identifier: Apache-2.0
// Without a hypervisor: what libvirt says as data, and its built-in test driver. Real guests are in
// tests/virt/libvirt_test.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libvirt/libvirt.h>

#include <cmath>

#include "sensors/virt/guest.h"
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
    threads.read(vcpus);
    ASSERT_EQ(vcpus.size(), c.vcpus);
    if (c.vcpus == 0) continue;
    EXPECT_EQ(vcpus[0].numbers.values[1], 19175678812);
    EXPECT_EQ(vcpus[0].numbers.values[2], 7482421634);
    EXPECT_TRUE(std::isnan(vcpus[0].numbers.values[0]));
    fixture.remove("proc/27061");  // the guest ended
    threads.read(vcpus);
    EXPECT_TRUE(std::isnan(vcpus[0].numbers.values[1]));
  }
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

TEST(LibvirtXml, Damage) {
  // Every prefix is an error or, where only the end of the file is missing, not noticed; it never runs astray.
  for (std::size_t n = 0; n < kXml.size() - 1; ++n) {
    const auto g = virt::parse_domain_xml(kXml.substr(0, n));
    if (n > kXml.find("<domain") + 8) {
      EXPECT_FALSE(g) << n;
    }
  }
  for (const auto* text : {"</a>", "<>", "<a", "<a b=\"", "<a b='x>", "<![CDATA[", "<!--",
                           "<domain><disk/></domain></x>", "<domain><devices/disk/target></domain>"})
    EXPECT_FALSE(virt::parse_domain_xml(text)) << text;
  for (const auto* text :
       {"", "no xml", "<domain/>", "<domain><devices><disk/></devices></domain>", "<a b/>", "<a =/>"})
    EXPECT_TRUE(virt::parse_domain_xml(text)) << text;
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
  EXPECT_EQ(fixture.run().error, "");
}

TEST(Libvirt, NothingListens) {
  const auto run = run_collector("libvirt", {}, {{"collector.libvirt.uri", "qemu:///system?socket=/nonexistent/sock"}});
  EXPECT_EQ(run.text, "libvirt_up 0\n");
  EXPECT_THAT(run.error, HasSubstr("/nonexistent/sock"));
}

}  // namespace
}  // namespace vitald
