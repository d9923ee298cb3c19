#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every flag of node_exporter 1.12 (and Debian's 1.5) is accepted, so that a unit file needs no edit."""

import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD  # noqa: E402

COLLECTORS = """
arp bcache bcachefs bonding btrfs buddyinfo cgroups conntrack cpu cpufreq cpu_vulnerabilities diskstats dmi
dmmultipath drbd drm edac entropy ethtool fibrechannel filefd filesystem hwmon infiniband interrupts ipvs kernel_hung
ksmd lnstat loadavg logind mdadm meminfo meminfo_numa mountstats netclass netdev netstat network_route nfs nfsd ntp
nvme nvmesubsystem os pcidevice perf powersupplyclass pressure processes qdisc rapl runit schedstat selinux slabinfo
sockstat softirqs softnet stat supervisord swap sysctl systemd tapestats tcpstat textfile thermal_zone time timex
udp_queues uname vmstat watchdog wifi xfrm xfs zfs zoneinfo
""".split()

FLAGS = """
--collector.arp.device-exclude=a
--collector.arp.device-include=a
--no-collector.arp.netlink
--collector.bcache.priorityStats
--collector.cpu.guest
--collector.cpu.info
--collector.cpu.info.bugs-include=a
--collector.cpu.info.flags-include=a
--collector.disable-defaults
--collector.diskstats.device-exclude=a
--collector.diskstats.device-include=a
--collector.diskstats.ignored-devices=a
--collector.ethtool.device-exclude=a
--collector.ethtool.device-include=a
--collector.ethtool.metrics-include=a
--collector.filesystem.fs-types-exclude=a
--collector.filesystem.fs-types-include=a
--collector.filesystem.ignored-fs-types=a
--collector.filesystem.ignored-mount-points=a
--collector.filesystem.mount-points-exclude=a
--collector.filesystem.mount-points-include=a
--collector.filesystem.mount-timeout=5s
--collector.filesystem.stat-workers=4
--collector.hwmon.chip-exclude=a
--collector.hwmon.chip-include=a
--collector.hwmon.sensor-exclude=a
--collector.hwmon.sensor-include=a
--collector.infiniband.device-exclude=a
--collector.infiniband.device-include=a
--no-collector.interrupts.include-zeros
--collector.interrupts.name-exclude=a
--collector.interrupts.name-include=a
--collector.ipvs.backend-labels=local_port
--collector.netclass.ignore-invalid-speed
--collector.netclass.ignored-devices=a
--collector.netclass.netlink
--collector.netclass_rtnl.with-stats
--collector.netdev.address-info
--collector.netdev.device-blacklist=a
--collector.netdev.device-exclude=a
--collector.netdev.device-include=a
--collector.netdev.device-whitelist=a
--collector.netdev.enable-detailed-metrics
--collector.netdev.label-ifalias
--no-collector.netdev.netlink
--collector.netstat.fields=a
--collector.ntp.ip-ttl=1
--collector.ntp.local-offset-tolerance=1ms
--collector.ntp.max-distance=3.46608s
--collector.ntp.protocol-version=4
--collector.ntp.server-is-local
--collector.ntp.server-port=123
--collector.ntp.server=127.0.0.1
--collector.pcidevice.idsfile=/x
--collector.pcidevice.names
--collector.perf.cache-profilers=L1D_READ_HIT
--collector.perf.cpus=0-1
--collector.perf.disable-cache-profilers
--collector.perf.disable-hardware-profilers
--collector.perf.disable-software-profilers
--collector.perf.hardware-profilers=CpuCycles
--collector.perf.software-profilers=PageFault
--collector.perf.tracepoint=sched:sched_switch
--collector.powersupply.ignored-supplies=a
--collector.qdisc.device-exclude=a
--collector.qdisc.device-include=a
--collector.qdisc.fixtures=
--collector.qdisk.device-exclude=a
--collector.qdisk.device-include=a
--collector.rapl.enable-zone-label
--collector.runit.servicedir=/etc/service
--collector.slabinfo.slabs-exclude=a
--collector.slabinfo.slabs-include=a
--collector.stat.softirq
--collector.supervisord.url=http://localhost:9001/RPC2
--collector.sysctl.include-info=kernel.core_pattern
--collector.sysctl.include=vm.swappiness
--collector.systemd.enable-restarts-metrics
--collector.systemd.enable-start-time-metrics
--collector.systemd.enable-task-metrics
--collector.systemd.private
--collector.systemd.unit-blacklist=a
--collector.systemd.unit-exclude=a
--collector.systemd.unit-include=a
--collector.systemd.unit-whitelist=a
--collector.tapestats.ignored-devices=a
--collector.textfile.directory=/tmp
--collector.vmstat.fields=a
--collector.wifi.fixtures=
--log.format=json
--log.level=info
--path.procfs=/proc
--path.rootfs=/
--path.sysfs=/sys
--path.udev.data=/run/udev/data
--runtime.gomaxprocs=1
--web.config.file=
--web.disable-exporter-metrics
--web.listen-address=:9100
--web.max-requests=40
--web.systemd-socket
--web.telemetry-path=/metrics
""".split()

# The old spelling and the new one; both at once is an error there too.
RENAMED = [
    ("collector.diskstats.ignored-devices", "collector.diskstats.device-exclude"),
    ("collector.filesystem.ignored-fs-types", "collector.filesystem.fs-types-exclude"),
    ("collector.filesystem.ignored-mount-points", "collector.filesystem.mount-points-exclude"),
    ("collector.netdev.device-blacklist", "collector.netdev.device-exclude"),
    ("collector.netdev.device-whitelist", "collector.netdev.device-include"),
    ("collector.qdisk.device-exclude", "collector.qdisc.device-exclude"),
    ("collector.qdisk.device-include", "collector.qdisc.device-include"),
    ("collector.systemd.unit-blacklist", "collector.systemd.unit-exclude"),
    ("collector.systemd.unit-whitelist", "collector.systemd.unit-include"),
]


def check(*flags):
    """(exit status, warnings, problems)"""
    done = subprocess.run([VITALD, "--config.check", *flags], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    lines = done.stderr.splitlines()
    warnings = [line for line in lines if line.startswith("vitald: warning:")]
    return done.returncode, warnings, [line for line in lines if line not in warnings]


known = set(re.findall(r"--\[no-\]collector\.(\w+)\s", subprocess.run(
    [VITALD, "--help"], check=True, capture_output=True, text=True).stdout))
missing = [c for c in COLLECTORS if c not in known]
if missing:
    print(f"not in this build, their flags are not looked at: {' '.join(missing)}")


def built(flag):
    part = flag.removeprefix("--").removeprefix("no-").split(".")
    return part[0] != "collector" or part[1] not in missing


bad = []
old_names = {f"--{old}" for old, _ in RENAMED}
flags = [f for f in FLAGS + [f"--{no}collector.{c}" for c in COLLECTORS for no in ("", "no-")] if built(f)]
for flag in flags:
    status, warnings, problems = check(flag)
    wanted = 1 if flag.split("=")[0] in old_names or "gomaxprocs" in flag else 0
    if status or problems:
        bad.append(f"{flag}: {problems}")
    elif len(warnings) != wanted:
        bad.append(f"{flag}: {wanted} warnings expected, got {warnings}")
for old, new in RENAMED:
    status, _, problems = check(f"--{old}=a", f"--{new}=b")
    if built(old) and (status == 0 or problems != [f"--{old} and --{new} are mutually exclusive"]):
        bad.append(f"--{old} with --{new}: exit status {status}, {problems}")
_, warnings, _ = check("--runtime.gomaxprocs=1", "--runtime.gomaxprocs=2")
if len(warnings) != 1:
    bad.append(f"one warning for a flag given twice: {warnings}")
print("\n".join(bad) or f"{len(flags)} flags")
sys.exit(bool(bad))
