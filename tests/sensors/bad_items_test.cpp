// SPDX-License-Identifier: Apache-2.0
// One bad item among good ones, of kinds that hosts have had: what it must not take along, whose numbers it must not
// get, and that it is said.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/os/fd.h"
#include "tests/sensors/run_collector.h"

namespace vitald {
namespace {

struct BadItem {
  const char* name;
  const char* collector;
  Tree tree;
  std::vector<std::string> there, not_there;  // parts of lines
  std::string said;                           // part of the error or of a problem; empty: neither
  FlagValues flags = {};
};

const std::string kBtrfs = "sys/fs/btrfs/0abb23a9-579b/";
const std::string kSoftirqs = "                    CPU0       CPU2\n";

const BadItem kItems[] = {
    {"a device of drbd whose number is none has its numbers for itself",
     "drbd",
     {{"proc/drbd",
       " 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----\n    ns:1 nr:2\n"
       " x: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----\n    ns:7 nr:8\n"
       " 2: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----\n    ns:3 nr:4\n"}},
     {"node_drbd_network_received_bytes_total{device=\"drbd0\"} 2", "bytes_total{device=\"drbd2\"} 4"},
     {" 8\n", "unknown"},
     "'number: cs:state' expected"},
    {"an array and its disks may be called as a level",
     "mdadm",
     {{"proc/mdstat",
       "Personalities : [raid1]\n"
       "md_raid0_inactive : active (auto-read-only) raid1 sdb1[1](F) sda1[0]\n"
       "      1048576 blocks super 1.2 [2/1] [U_]\n\n"}},
     {"node_md_disks{device=\"md_raid0_inactive\",state=\"active\"} 1",
      "node_md_disks_required{device=\"md_raid0_inactive\"} 2"},
     {},
     ""},
    {"calls of a line that was cut are not 0",
     "nfs",
     {{"proc/net/rpc/nfs", "net 1 0 1 1\nrpc 5 0 5\nproc4 59 1 2 3\n"}},
     {"method=\"Write\",proto=\"4\"} 3", "node_nfs_rpcs_total 5"},
     {"Commit"},
     "a count and as many numbers expected"},
    {"what a newer client has and this one does not",
     "nfs",
     {{"proc/net/rpc/nfs", "proc4 3 1 2 3\n"}},
     {"method=\"Write\",proto=\"4\"} 3", "method=\"Commit\",proto=\"4\"} 0"},
     {},
     ""},
    {"backends of a service that is not understood are not the one's before",
     "ipvs",
     {{"proc/net/ip_vs_stats", "x\nx\n 1 2 z 4 5\n"},
      {"proc/net/ip_vs",
       "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n"
       "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
       "TCP  0A010207:1F90 wlc\n  -> 0A010B10:1F90      Tunnel  70     137        2\n"
       "QUIC 0A010208:1F90 wlc\n  -> 0A010B11:1F90      Tunnel  99     99        99\n"
       "UDP  0A010209:1F90 wlc\n  -> 0A010B12:1F90      Tunnel  5     6        7\n"}},
     {"node_ipvs_connections_total 1", "node_ipvs_outgoing_bytes_total 5",
      "remote_address=\"10.1.11.16\",remote_port=\"8080\"} 70", "local_address=\"10.1.2.9\""},
     {"} 99", "node_ipvs_outgoing_packets_total"},
     "hexadecimal"},
    {"a row of softirqs that lost a word is nobody's",
     "softirqs",
     {{"proc/softirqs", kSoftirqs + "          HI:          7\n       TIMER:          1          2\n"}},
     {"{cpu=\"2\",type=\"TIMER\"} 2"},
     {"HI"},
     "a number per CPU expected"},
    {"a row of interrupts that lost a word is said, ERR is not",
     "interrupts",
     {{"proc/interrupts",
       "           CPU0       CPU2\n  1:         10   IR-IO-APIC-edge      i8042\n"
       "  2:         10 11 12  IR-IO-APIC-edge      i8042\nNMI:          3          4   Non-maskable interrupts\n"
       "ERR:          0\n"}},
     {"{cpu=\"2\",devices=\"\",info=\"Non-maskable interrupts\",type=\"NMI\"} 4"},
     {"i8042"},
     "(and 1 more)"},
    {"a pool's state and files that cannot be read are said",
     "zfs",
     {{"proc/spl/kstat/zfs/arcstats/x", ""},
      {"proc/spl/kstat/zfs/tank/state/x", ""},
      {"proc/spl/kstat/zfs/zil", "name type data\nzil_commit_count 4 10\n"}},
     {"node_zfs_zil_zil_commit_count 10"},
     {"node_zfs_zpool_state"},
     "arcstats: Is a directory (EISDIR) (and 1 more)"},
    {"datasets without their names are not one",
     "zfs",
     {{"proc/spl/kstat/zfs/tank/objset-1", "name type data\nwrites 4 9\n"},
      {"proc/spl/kstat/zfs/tank/objset-2", "name type data\ndataset_name 7 tank/b\nwrites 4 8\n"}},
     {"node_zfs_zpool_dataset_writes{dataset=\"tank/b\",zpool=\"tank\"} 8"},
     {" 9\n"},
     "a line 'dataset_name' before it"},
    {"a transport of NFS that was cut has no zeros",
     "mountstats",
     {{"proc/self/mountinfo", ""},
      {"proc/self/mountstats",
       "device h:/a mounted on /a with fstype nfs4 statvers=1.1\n\tage:\t13968\n\txprt:\ttcp 832 0 1\n\n"}},
     {"node_mountstats_nfs_age_seconds_total"},
     {"node_mountstats_nfs_transport"},
     "more numbers expected"},
    {"an older client's transport has no columns that came later",
     "mountstats",
     {{"proc/self/mountinfo", ""},
      {"proc/self/mountstats",
       "device h:/a mounted on /a with fstype nfs statvers=1.0\n\txprt:\ttcp 832 0 1 0 11 6428 6428 0 12154 5\n\n"}},
     {"node_mountstats_nfs_transport_backlog_queue_total{export=\"h:/a\""},
     {"pending_queue"},
     ""},
    {"without addresses NFS mounts still have their numbers",
     "mountstats",
     {{"proc/self/mountinfo/x", ""},
      {"proc/self/mountstats",
       "device h:/a mounted on /a with fstype nfs4 statvers=1.1\n\tage:\t13968\n"
       "\txprt:\ttcp 832 0 1 0 11 6428 6428 0 12154 0 24 26 5726\n\n"}},
     {"node_mountstats_nfs_age_seconds_total"},
     {},
     "mountinfo"},
    {"no sum of no CPUs",
     "conntrack",
     {{"proc/sys/net/netfilter/nf_conntrack_count", "1\n"},
      {"proc/sys/net/netfilter/nf_conntrack_max", "2\n"},
      {"proc/net/stat/nf_conntrack", "entries  searched found\n"}},
     {"node_nf_conntrack_entries 1"},
     {"node_nf_conntrack_stat_found"},
     "a row per CPU expected"},
    {"an empty table of sockets is no table",
     "udp_queues",
     {{"proc/net/udp", ""}, {"proc/net/udp6", "sl local\n"}},
     {"{ip=\"v6\",queue=\"rx\"} 0"},
     {"v4"},
     "a line of names expected"},
    {"an empty os-release says nothing",
     "os",
     {{"root/etc/os-release", "\n"}},
     {},
     {"node_os_info"},
     "lines KEY=value expected"},
    {"a row that this kernel does not have is not 0",
     "xfrm",
     {{"proc/net/xfrm_stat", "XfrmInError 1\nXfrmInNoPols x\n"}},
     {"node_xfrm_in_error_packets_total 1"},
     {"in_no_pols", "acquire"},
     "a name and a number expected"},
    {"columns that an old kernel does not have are not 0",
     "softnet",
     {{"proc/net/softnet_stat", "1 0 0 0 0 0 0 0 2\n"}},
     {"node_softnet_cpu_collision_total{cpu=\"0\"} 2"},
     {"rps", "flow_limit"},
     ""},
    {"a protection that is no number is said",
     "zoneinfo",
     {{"proc/zoneinfo",
       "Node 0, zone DMA\n  pages free 5\n        protection: (0, x, 5)\nNode 0, zone Normal\n        min 11\n"}},
     {"node_zoneinfo_protection_0{node=\"0\",zone=\"DMA\"} 0",
      "node_zoneinfo_min_pages{node=\"0\",zone=\"Normal\"} 11"},
     {"protection_2"},
     "protection: and numbers expected"},
    {"a disk's line that was cut is said, and a negative number in flight is none",
     "diskstats",
     {{"proc/diskstats", "8 0 sda 1 2 3 4 5\n8 16 sdb 1 2 3 4 5 6 7 8 4294967295 10 11\n8 32 sdc 1 2 3 4\n"}},
     {"node_disk_reads_completed_total{device=\"sdb\"} 1"},
     {"node_disk_io_now", "\"sda\"", "\"sdc\""},
     "'8 0 sda 1 2 3 4 5'"},
    {"so is any other, down to the lowest",
     "diskstats",
     {{"proc/diskstats",
       "8 0 sda 1 2 3 4 5 6 7 8 2147483647 10 11\n8 16 sdb 1 2 3 4 5 6 7 8 4294967293 10 11\n"
       "8 32 sdc 1 2 3 4 5 6 7 8 2147483648 10 11\n"}},
     {"node_disk_io_now{device=\"sda\"} 2147483647", "node_disk_reads_completed_total{device=\"sdc\"} 1"},
     {"node_disk_io_now{device=\"sdb\"}", "node_disk_io_now{device=\"sdc\"}"},
     ""},
    {"a filesystem whose metadata_uuid is empty has the folder's name",
     "btrfs",
     {{kBtrfs + "label", "data\n"}, {kBtrfs + "metadata_uuid", "\n"}},
     {"node_btrfs_info{label=\"data\",uuid=\"0abb23a9-579b\"} 1"},
     {"uuid=\"\""},
     ""},
    {"a block group that cannot be read is said",
     "btrfs",
     {{kBtrfs + "allocation/data/bytes_reserved", "1\n"},
      {kBtrfs + "allocation/data/raid1/total_bytes", "100\n"},
      {kBtrfs + "allocation/data/raid1/used_bytes", "->used_bytes"}},
     {"node_btrfs_reserved_bytes"},
     {"node_btrfs_size_bytes"},
     "used_bytes: Too many levels of symbolic links (ELOOP)"},
    {"paths that cannot be listed are not none",
     "dmmultipath",
     {{"sys/block/dm-5/dm/uuid", "mpath-1\n"},
      {"sys/block/dm-5/dm/name", "a\n"},
      {"sys/block/dm-5/slaves", "->slaves"}},
     {"node_dmmultipath_device_info"},
     {"node_dmmultipath_device_paths"},
     "slaves: Too many levels of symbolic links (ELOOP)"},
    {"a port of fibre channel whose driver counts in 32 bits does not count this",
     "fibrechannel",
     {{"sys/class/fc_host/host0/port_state", "Online\n"},
      {"sys/class/fc_host/host0/statistics/nos_count", "0xffffffff\n"},
      {"sys/class/fc_host/host0/statistics/rx_frames", "0x3\n"}},
     {"node_fibrechannel_rx_frames_total{fc_host=\"host0\"} 3"},
     {"nos"},
     ""},
    {"SELinux that cannot be read is not off",
     "selinux",
     {{"sys/fs/selinux/enforce/x", ""}, {"root/etc/selinux/config", "SELINUX=enforcing\n"}},
     {"node_selinux_enabled 1", "node_selinux_config_mode 1"},
     {"current_mode"},
     "enforce: Is a directory (EISDIR)"},
    {"a battery's -1 is no energy, and may be a current",
     "powersupplyclass",
     {{"sys/class/power_supply/BAT0/energy_now", "-1\n"}, {"sys/class/power_supply/BAT0/current_now", "-1\n"}},
     {"node_power_supply_current_ampere{power_supply=\"BAT0\"} -1e-06"},
     {"energy_watthour"},
     ""},
    {"a device without a link of PCIe has no speed of it",
     "pcidevice",
     {{"sys/devices/pci0000:00/0000:00:02.1/class", "0x060400\n"},
      {"sys/devices/pci0000:00/0000:00:02.1/vendor", "0x1\n"},
      {"sys/devices/pci0000:00/0000:00:02.1/device", "0x1\n"},
      {"sys/devices/pci0000:00/0000:00:02.1/subsystem_vendor", "0x1\n"},
      {"sys/devices/pci0000:00/0000:00:02.1/subsystem_device", "0x1\n"},
      {"sys/devices/pci0000:00/0000:00:02.1/revision", "0x1\n"},
      {"sys/devices/pci0000:00/0000:00:02.1/current_link_speed", "Unknown\n"},
      {"sys/bus/pci/devices/0000:00:02.1", "->../../../devices/pci0000:00/0000:00:02.1"}},
     {"node_pcidevice_info"},
     {"link"},
     ""},
    {"a bad line of arp is one entry less",
     "arp",
     {{"proc/net/arp", "IP address\n10.0.0.1 0x1\n10.0.0.2 0x1 0x2 02:00:5e:10:20:30 * eth0\n"}},
     {"node_arp_entries{device=\"eth0\"} 1"},
     {},
     "six columns expected"},
    {"a station that does not tell its signal has none of 0 dBm",
     "wifi",
     {{"wifi/interfaces.json", "[{\"name\": \"wlan0\"}, {\"name\": \"wlan1\", \"frequency\": 2412}]"},
      {"wifi/wlan0/bss.json", "{"},
      {"wifi/wlan1/stationinfo.json", "[{\"hardwareaddr\": \"AQIDBAUG\", \"receivedbytes\": 7}]"}},
     {"node_wifi_interface_frequency_hertz{device=\"wlan1\"} 2412000000",
      "node_wifi_station_receive_bytes_total{device=\"wlan1\",mac_address=\"01:02:03:04:05:06\"} 7"},
     {"signal", "frequency_hertz{device=\"wlan0\"}"},
     "bss.json",
     {{"collector.wifi.fixtures", "@ROOT@/wifi"}}},
    {"a speed that is all ones is none",
     "netclass",
     {{"sys/class/net/eth0/speed", "4294967295\n"},
      {"sys/class/net/eth1/speed", "65535\n"},
      {"sys/class/net/eth2/speed", "1000\n"}},
     {"node_network_speed_bytes{device=\"eth2\"} 125000000"},
     {"speed_bytes{device=\"eth0\"}", "speed_bytes{device=\"eth1\"}"},
     ""},
    {"numbers of a chip that mean none are none, -1 degree is one",
     "hwmon",
     {{"sys/class/hwmon/hwmon0/name", "x\n"},
      {"sys/class/hwmon/hwmon0/temp1_input", "-1000\n"},
      {"sys/class/hwmon/hwmon0/temp1_max", "-273150\n"},
      {"sys/class/hwmon/hwmon0/power1_cap", "-1\n"},
      {"sys/class/hwmon/hwmon0/power1_input", "4294967295\n"},
      {"sys/class/hwmon/hwmon0/curr1_input", "-1\n"},
      {"sys/class/hwmon/hwmon0/in1_max", "2147483647\n"}},
     {"node_hwmon_temp_celsius{chip=\"x\",sensor=\"temp1\"} -1",
      "node_hwmon_curr_amps{chip=\"x\",sensor=\"curr1\"} -0.001"},
     {"temp_max", "power_cap", "power_watt", "in_max"},
     ""},
};

TEST(BadItem, CostsItself) {
  for (const auto& c : kItems) {
    SCOPED_TRACE(c.name);
    CollectorFixture fixture(c.collector, c.tree, c.flags);
    for (const auto* which : {"first", "second"}) {
      SCOPED_TRACE(which);
      const auto run = fixture.run();
      for (const auto& part : c.there) EXPECT_NE(run.text.find(part), std::string::npos) << part << "\n" << run.text;
      for (const auto& part : c.not_there)
        EXPECT_EQ(run.text.find(part), std::string::npos) << part << "\n" << run.text;
      auto said = run.error;
      for (const auto& problem : run.problems) said += "\n" + problem;
      if (c.said.empty()) EXPECT_EQ(said, "");
      else EXPECT_NE(said.find(c.said), std::string::npos) << said;
    }
  }
}

// Names stay, what they stand for does not: plugged out and in, or set while the system runs.
TEST(BadItem, WhatIsKnownOfADeviceGoesWithIt) {
  struct Change {
    const char* collector;
    Tree tree, after;
    const char *goes, *was, *is;
  };
  const Change changes[] = {
      {"edac",
       {{"sys/devices/system/edac/mc/mc0/csrow0/ch0_ce_count", "1\n"},
        {"sys/devices/system/edac/mc/mc0/csrow0/ch0_dimm_label", "mc#0csrow#0channel#0\n"}},
       {{"sys/devices/system/edac/mc/mc0/csrow0/ch0_dimm_label", "DIMM_A1\n"}},
       "",
       "dimm_label=\"mc0_csrow0_channel0\"",
       "dimm_label=\"DIMM_A1\""},
      {"thermal_zone",
       {{"sys/class/thermal/thermal_zone0/type", "acpitz\n"}, {"sys/class/thermal/thermal_zone0/temp", "45000\n"}},
       {{"sys/class/thermal/thermal_zone0/type", "iwlwifi\n"}, {"sys/class/thermal/thermal_zone0/temp", "45000\n"}},
       "sys/class/thermal/thermal_zone0",
       "type=\"acpitz\"",
       "type=\"iwlwifi\""},
      {"dmi",
       {{"sys/class/dmi/id/bios_vendor", "A\n"}},
       {{"sys/class/dmi/id/product_serial", "77\n"}},
       "",
       "node_dmi_info{bios_vendor=\"A\"} 1",
       "product_serial=\"77\""},
  };
  for (const auto& c : changes) {
    SCOPED_TRACE(c.collector);
    CollectorFixture fixture(c.collector, c.tree);
    const auto before = fixture.run();
    EXPECT_NE(before.text.find(c.was), std::string::npos) << before.text;
    // The file system of the test gives a folder the number of one that is gone, unless that is still open; sysfs
    // counts on.
    Fd gone;
    if (*c.goes != 0) {
      gone = Fd(open((fixture.root() + "/" + c.goes).c_str(), O_RDONLY | O_CLOEXEC));
      ASSERT_TRUE(gone) << c.goes;
      fixture.remove(c.goes);
    }
    for (const auto& [path, content] : c.after) fixture.write(path, content);
    fixture.clock.advance_ns(61'000'000'000);
    const auto after = fixture.run();
    EXPECT_NE(after.text.find(c.is), std::string::npos) << after.text;
  }
}

}  // namespace
}  // namespace vitald
