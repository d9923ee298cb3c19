#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The real binary on node_exporter's own fixture trees: what it prints for the collectors below must be what
node_exporter prints. The trees are not part of this repository: harness.shared() says where they are looked for.

usage: fixtures_test.py [COLLECTOR...]     default: all that are covered
"""

import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness

# Collector -> the families it is responsible for. A new collector is one line here.
COVERED = {
    "cpu": "cpu_(seconds_total|guest_seconds_total|info|frequency_hertz|flag_info|bug_info|core_throttles_total"
           "|package_throttles_total|isolated|online)",
    "stat": "intr_total|context_switches_total|forks_total|boot_time_seconds|procs_running|procs_blocked"
            "|softirqs_total",
    "meminfo": "memory_(?!numa_).*",
    "vmstat": "vmstat_.*",
    "loadavg": "load(1|5|15)",
    "pressure": "pressure_.*",
    "diskstats": "disk_.*",
    "netdev": "network_(receive|transmit)_.*_total",
    "time": "time_.*",
    "textfile": "textfile_.*",
    "hwmon": "hwmon_.*",
    "rapl": "rapl_.*",
    "thermal_zone": "(thermal_zone|cooling_device)_.*",
    "powersupplyclass": "power_supply_.*",
    "arp": "arp_.*",
    "bonding": "bonding_.*",
    "buddyinfo": "buddyinfo_.*",
    "cgroups": "cgroups_.*",
    "conntrack": "nf_conntrack_.*",
    "cpu_vulnerabilities": "cpu_vulnerabilities_.*",
    "cpufreq": "cpu_(scaling|frequency_(max|min|avg))_.*",
    "dmi": "dmi_.*",
    "dmmultipath": "dmmultipath_.*",
    "drbd": "drbd_.*",
    "edac": "edac_.*",
    "entropy": "entropy_.*",
    "fibrechannel": "fibrechannel_.*",
    "filefd": "filefd_.*",
    "infiniband": "infiniband_.*",
    "interrupts": "interrupts_.*",
    "ipvs": "ipvs_.*",
    "kernel_hung": "kernel_hung_.*",
    "ksmd": "ksmd_.*",
    "lnstat": "lnstat_.*",
    "mdadm": "md_.*",
    "meminfo_numa": "memory_numa_.*",
    "netclass": "network_(?!receive_|transmit_(?!queue)).*",
    "netstat": "netstat_.*",
    "nfs": "nfs_.*",
    "nfsd": "nfsd_.*",
    "nvme": "nvme_.*",
    "os": "os_.*",
    "schedstat": "schedstat_.*",
    "slabinfo": "slabinfo_.*",
    "sockstat": "sockstat_.*",
    "softirqs": "softirqs_functions_.*",
    "softnet": "softnet_.*",
    "tapestats": "tape_.*",
    "udp_queues": "udp_.*",
    "watchdog": "watchdog_.*",
    "xfrm": "xfrm_.*",
    "xfs": "xfs_.*",
    "zfs": "zfs_.*",
    "mountstats": "mountstats_.*",
    "pcidevice": "pcidevice_.*",
    "processes": "processes_.*",
    "qdisc": "qdisc_.*",
    "sysctl": "sysctl_.*",
    "zoneinfo": "zoneinfo_.*",
    "bcache": "bcache_.*",
    "bcachefs": "bcachefs_.*",
    "btrfs": "btrfs_.*",
    "wifi": "wifi_.*",
}

# As node_exporter's own end-to-end test runs it.
FLAGS = [
    "--path.rootfs=collector/fixtures",
    "--path.procfs=collector/fixtures/proc",
    "--path.sysfs=collector/fixtures/sys",
    "--path.udev.data=collector/fixtures/udev/data",
    "--collector.disable-defaults",
]
COLLECTOR_FLAGS = {
    "cpu": [
        "--collector.cpufreq",  # whose frequencies come from cpuinfo too
        "--collector.cpu.info",
        "--collector.cpu.info.bugs-include=^(cpu_meltdown|spectre_.*|mds)$",
        "--collector.cpu.info.flags-include=^(aes|avx.?|constant_tsc)$",
    ],
    "netdev": ["--collector.netdev.device-include=lo"],
    "stat": ["--collector.stat.softirq"],
    "textfile": ["--collector.textfile.directory=collector/fixtures/textfile/two_metric_files/"],
    "hwmon": ["--collector.hwmon.chip-include=(applesmc|asus_nb_wmi|coretemp|hwmon4|ieee80211|nct6779)"],
    "arp": ["--collector.arp.device-exclude=nope", "--no-collector.arp.netlink"],
    "netclass": [
        "--collector.netclass.ignore-invalid-speed",
        "--collector.netclass.ignored-devices=(dmz|int)",
    ],
    "qdisc": ["--collector.qdisc.fixtures=collector/fixtures/qdisc/", "--collector.qdisc.device-include=(wlan0|eth0)"],
    "sysctl": [
        "--collector.sysctl.include-info=kernel.seccomp.actions_avail",
        "--collector.sysctl.include=fs.file-nr",
        "--collector.sysctl.include=fs.file-nr:total,current,max",
        "--collector.sysctl.include=kernel.threads-max",
    ],
    "bcache": ["--collector.bcache.priorityStats"],
    "wifi": ["--collector.wifi.fixtures=collector/fixtures/wifi"],
}

# What does not come from the trees, but from the running machine. Its HELP and TYPE do not change.
OF_THE_MACHINE = "^node_(time_(zone_offset_)?seconds|textfile_mtime_seconds|network_(receive|transmit)_(bytes|packets)_total)$"

# Where node_exporter's output is wrong and vitald right under the same name: a reason, what it prints and what is right.
CORRECTED = [
    ("the kernel's procedure 44 is LAYOUTGET, 45 GETDEVICEINFO (include/linux/nfs4.h); 1.5.0 had them so as well",
     'node_nfs_requests_total{method="GetDeviceInfo",proto="4"} 1',
     'node_nfs_requests_total{method="GetDeviceInfo",proto="4"} 90'),
    ("the same",
     'node_nfs_requests_total{method="LayoutGet",proto="4"} 90',
     'node_nfs_requests_total{method="LayoutGet",proto="4"} 1'),
]


def corrected(output):
    lines = output.split("\n")
    for _, wrong, right in CORRECTED:
        lines[lines.index(wrong)] = right  # one that node_exporter has mended has to be taken out above
    return "\n".join(lines)


def unpack(corpus, into):
    fixtures = into / "collector/fixtures"
    fixtures.mkdir(parents=True)
    for name in ("proc", "sys", "udev"):
        with tarfile.open(corpus / f"{name}.tar") as tar:
            tar.extractall(fixtures)
    for name in ("textfile", "usr", "wifi", "qdisc", "ethtool", "pci.ids"):
        source = corpus / name
        if source.is_dir():
            shutil.copytree(source, fixtures / name, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, fixtures / name)


def main():
    collectors = sys.argv[1:] or list(COVERED)
    corpus, compat_diff = harness.shared("corpus/node_exporter"), harness.shared("tools/compat-diff")
    if not corpus or not compat_diff:
        harness.skip("no shared/corpus/node_exporter beside the checkout and no VITALD_SHARED: nothing to compare with")

    with tempfile.TemporaryDirectory(prefix="vitald-compat-") as folder:
        work = pathlib.Path(folder)
        unpack(corpus, work)
        command = [harness.VITALD, "--once", *FLAGS]
        for name in collectors:
            command += [f"--collector.{name}", *COLLECTOR_FLAGS.get(name, [])]
        run = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=60)
        if run.returncode != 0:
            print(f"{' '.join(command)}\nended with {run.returncode}:\n{run.stderr}")
            return 1
        actual = work / "actual.txt"
        actual.write_text(run.stdout)
        only = "^node_(" + "|".join(COVERED[name] for name in collectors) + ")$"
        expected = work / "expected.txt"
        expected.write_text(corrected((corpus / "e2e-output.txt").read_text()))
        diff = subprocess.run(
            [compat_diff, expected, actual, "--values", "--strict",
             "--only", only, "--ignore", OF_THE_MACHINE],
            capture_output=True, text=True, timeout=60)
        print(diff.stdout + diff.stderr, end="")
        if diff.returncode != 0:
            print(f"vitald said:\n{run.stderr}")
            return 1

        failed = [line for line in run.stdout.splitlines()
                  if line.startswith("node_scrape_collector_success{") and not line.endswith(" 1")]
        answered = {name for name in collectors
                    if f'node_scrape_collector_success{{collector="{name}"}} 1' in run.stdout}
        for line in failed:
            print(f"not a success: {line}\n{run.stderr}")
        for name in set(collectors) - answered:
            print(f"collector {name}: no node_scrape_collector_success of 1")
        return 1 if failed or len(answered) < len(collectors) else 0


if __name__ == "__main__":
    sys.exit(main())
