#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""In the namespaces and mounts of node_exporter's own DaemonSet vitald sees what a bare process of the same rights sees.

What a kubelet would make is made with unshare, mount and chroot: a root of its own with the host's /proc, /sys and / at
/host/{proc,sys,root}, its own /proc and /sys in their places, and node_exporter's flags.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, free_port, metrics, need, parse, running, skip, wait_for_probes, which  # noqa: E402

need("unshare", "setpriv", "chroot", "strace")
if os.geteuid() != 0:
    skip("only root may make mount namespaces here")
if subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True).returncode != 0:
    skip("no namespaces may be made here")

CONTAINER = """
set -e
root=$1; shift
mount -t tmpfs -o mode=755 container "$root"
mkdir -p "$root"/usr "$root"/etc "$root"/proc "$root"/sys "$root"/tmp "$root"/dev "$root"/host/proc "$root"/host/sys "$root"/host/root
for folder in usr etc dev; do mount --bind /$folder "$root/$folder"; done
for link in bin lib lib64 sbin; do ln -s usr/$link "$root/$link"; done
touch "$root/vitald"; mount --bind "$VITALD" "$root/vitald"
chmod 755 "$root/vitald"
mount --rbind /proc "$root/host/proc"
mount --rbind /sys "$root/host/sys"
mount --rbind / "$root/host/root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
exec chroot "$root" "$@"
"""
NODE_EXPORTER = ["--path.procfs=/host/proc", "--path.sysfs=/host/sys", "--path.rootfs=/host/root"]
# What the system calls of collectors that are off by default see is compared as well.
COMMON = ["--state.directory=", "--log.level=warn", "--collector.processes", "--collector.arp", "--collector.qdisc",
          "--collector.tcpstat", "--collector.network_route", "--collector.udp_queues", "--collector.netdev.address-info"]
CAPABILITIES = "-all,+bpf,+perfmon,+dac_read_search"

RIGHTS = {
    "root": [],
    "nobody": ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"],
    "nobody with capabilities": ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                 f"--inh-caps={CAPABILITIES}", f"--ambient-caps={CAPABILITIES}", "--no-new-privs"],
}
# Come and go while one looks, on the bare host as well; programs run times are there while somebody has switched them on.
# Also what has no row before its first event.
RESTLESS = re.compile(r"vitald_(bpf_(programs?|maps)|owner|block|sched|runq|oom|reclaim|memory|softirq|hardirq|tcp|network|"
                      r"process|events)(_|$)|process_|promhttp_|node_processes_state|"
                      r"node_processes_threads_state|node_tcp_connection_states|vitald_worker_|vitald_log_")
# Equal while nothing is changed by hand.
STABLE = re.compile(r"node_(uname_info|os_|dmi_info|boot_time|filesystem_(size|readonly|device_error|mount_info)|"
                    r"network_(info|mtu_bytes|up|address_assign_type|iface_|flags|address_info|routes)|disk_info|cpu_info|"
                    r"memory_MemTotal|memory_SwapTotal|vmstat_nothing|processes_max|filefd_maximum|schedstat_nothing|"
                    r"hwmon_chip|hwmon_sensor_label|time_zone|time_clocksource|qdisc_nothing|selinux|entropy_pool|"
                    r"nf_conntrack_entries_limit|exporter_build_info)|vitald_probe_up|vitald_sensor_info|vitald_build_info")
problems = []


def run(*argv, **kwargs):
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
                          env=os.environ | {"VITALD": VITALD}, **kwargs)
    return done


class Container:
    def __init__(self, *namespaces):
        self.namespaces = namespaces

    def __call__(self, rights, *flags):
        with tempfile.TemporaryDirectory(prefix="vitald-daemonset-") as root:
            os.chmod(root, 0o755)
            return run("unshare", "--mount", *self.namespaces, "sh", "-c", CONTAINER, "sh", root, *rights, "/vitald",
                       *flags, *NODE_EXPORTER, *COMMON)


def bare(rights, *flags):
    # As in the container: where an unprivileged user may come.
    with tempfile.TemporaryDirectory(prefix="vitald-daemonset-") as folder:
        os.chmod(folder, 0o755)
        program = f"{folder}/vitald"
        subprocess.run(["cp", VITALD, program], check=True)
        return run(*rights, program, *flags, *COMMON)


def samples(done, what):
    if done.returncode != 0:
        print(done.stderr)
        raise AssertionError(f"{what}: exit status {done.returncode}")
    return parse(done.stdout)[1]


def compare(what, host, here, but=None):
    """Each series of the host is there and none beside; stable values are equal. `but` matches names that may differ."""
    quiet = lambda keys: {k for k in keys if not RESTLESS.match(k[0]) and not (but and but.match(k[0]))}  # noqa: E731
    for key in sorted(quiet(host) - quiet(here)):
        problems.append(f"{what}: missing {key}")
    for key in sorted(quiet(here) - quiet(host)):
        problems.append(f"{what}: not on the host: {key}")
    count = 0
    for key in sorted(quiet(host) & quiet(here)):
        if not STABLE.match(key[0]):
            continue
        count += 1
        if host[key] != here[key]:
            problems.append(f"{what}: {key} is {here[key]}, on the host {host[key]}")
    families = {k[0] for k in quiet(here)}
    print(f"{what}: {len(quiet(here))} series of {len(families)} families, {count} stable values equal")
    assert len(quiet(here)) > 100 and count > 20, what


def expect(condition, text):
    if not condition:
        problems.append(text)


def probes(of):
    return {dict(labels)["probe"]: value for (name, labels), value in of.items() if name == "vitald_probe_up"}


def view(of):
    return {dict(labels)["of"]: value for (name, labels), value in of.items() if name == "vitald_host_view"}


SEEN = {"kernel": 1, "network": 1, "processes": 1, "pids": 1, "mounts": 1}

# 1. Host network; with and without the host's PID namespace, which does not matter where its /proc is mounted.
for name, rights in RIGHTS.items():
    host = samples(bare(rights, "--once"), f"bare, {name}")
    for namespaces in ((), ("--pid", "--fork")):
        what = f"container, {name}{', own PIDs' if namespaces else ''}"
        here = samples(Container(*namespaces)(rights, "--once"), what)
        compare(what, host, here, re.compile("node_processes_max_processes") if namespaces else None)
        expect(probes(here) == probes(host), f"{what}: probes {probes(here)}, on the host {probes(host)}")
        expect(view(here) == SEEN | {"pids": 0 if namespaces else 1}, f"{what}: {view(here)}")
    if name != "nobody":
        expect(1 in probes(host).values(), f"no probe is up on the host, {name}: {probes(host)}")

# 2. Its own network: interfaces from the host's files, nothing of ours by netlink; the report names what is left out.
rights = RIGHTS["root"]
host = samples(bare(rights, "--once"), "bare")
left_out = re.compile(r"node_(processes_max_processes|nf_conntrack_entries|network_.*_nohandler_total|tcp_|network_routes|network_route_info|"
                      r"network_address_info|qdisc_|scrape_collector_)|vitald_(collector_|host_view|thermal_events_)")
own = Container("--net", "--pid", "--fork")
here = samples(own(rights, "--once"), "own network")
compare("own network", host, here, left_out)
expect(view(here) == SEEN | {"network": 0, "pids": 0}, f"own network: {view(here)}")
expect(probes(here) == probes(host), f"own network: probes {probes(here)}")
devices = {dict(labels)["device"] for (name, labels) in host if name == "node_network_receive_bytes_total"}
ours = {dict(labels)["device"] for (name, labels) in here if name == "node_network_receive_bytes_total"}
expect(ours == devices, f"own network: interfaces {ours}, of the host {devices}")

traced = own(["strace", "-f", "-qq", "-e", "trace=socket", "-o", "/dev/stderr"], "--once")
asked = [line for line in traced.stderr.splitlines() if "AF_NETLINK" in line and "NETLINK_KOBJECT_UEVENT" not in line]
expect("AF_NETLINK" in traced.stderr, f"strace saw no socket of the kernel's announcements: {traced.stderr[-300:]}")
expect(not asked, f"own network: asked by netlink: {asked[:3]}")

doctor = own(rights, "doctor").stdout
for line in ("ok    host kernel", "FIX   host network", "ok    host processes", "ok    host mounts"):
    expect(line in doctor, f"doctor, own network: no line '{line}' in\n{doctor[:900]}")

# What is missing is named with the lines that grant it, in the unit and in the DaemonSet.
doctor = Container()(RIGHTS["nobody"], "doctor").stdout
for capability in ("BPF", "PERFMON", "DAC_READ_SEARCH"):
    (line,) = [row for row in doctor.splitlines() if row.startswith(f"  FIX   CAP_{capability} ")] or [""]
    expect(f"AmbientCapabilities=CAP_{capability};" in line and f"capabilities: {{add: [{capability}]}}" in line,
           f"doctor, nobody: no line for {capability} in\n{doctor[:1500]}")
for probe in ("runq_latency", "oom_kills"):
    expect(re.search(rf"^  FIX   {probe} +off: .*CAP_BPF and CAP_PERFMON are needed", doctor, re.M),
           f"doctor, nobody: {probe} in\n{doctor[-1500:]}")
doctor = Container()(RIGHTS["nobody with capabilities"], "doctor").stdout
expect("FIX   CAP_" not in doctor and "ok    CAP_BPF" in doctor, f"doctor, with capabilities:\n{doctor[:1500]}")

# 3. As the image has it: the file's capabilities are permitted, not effective. Kubernetes drops what is not added from the
# bounding set, and sets no_new_privs unless allowPrivilegeEscalation is true.
BOUNDED = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]


def status_of(rights, *prefix):
    """The capability lines of a running `vitald` and of its workers: [(name, permitted, effective, ambient, bounding)]."""
    with tempfile.TemporaryDirectory(prefix="vitald-daemonset-") as folder:
        os.chmod(folder, 0o755)
        program = f"{folder}/vitald"
        subprocess.run(["cp", VITALD, program], check=True)
        done = subprocess.run(["setcap", "cap_bpf,cap_perfmon,cap_dac_read_search=p", program], capture_output=True)
        if done.returncode != 0:
            return print(f"SKIPPED: file capabilities cannot be set here: {done.stderr.decode().strip()}")
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with running([*rights, program, f"--web.listen-address=127.0.0.1:{port}", *COMMON, "--collector.ntp"], url + "/-/ready") as process:
            wait_for_probes(process, url)
            children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            # Workers may be started by any thread.
            children += [p.name for p in pathlib.Path("/proc").glob("[0-9]*") if parent_of(p) == process.pid]
            rows = [capabilities_of(process.pid), *(capabilities_of(c) for c in sorted(set(children)))]
            _, samples_ = metrics(url)
        return rows, samples_


def parent_of(folder):
    try:
        return int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return None


def capabilities_of(pid):
    words = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    return {name: int(words[f"Cap{name}"], 16) for name in ("Prm", "Eff", "Amb", "Bnd")} | {"nnp": words["NoNewPrivs"]}


THREE = 1 << 39 | 1 << 38 | 1 << 2
if which("setcap"):
    # setpriv keeps its permitted set until the exec, as runc does; a program between loses it.
    between = ["setpriv", "--no-new-privs"]
    for what, bounding, extra, expected in (
            ("added, may escalate", CAPABILITIES, ["env"], THREE),
            ("added, no_new_privs, permitted before", CAPABILITIES, ["--no-new-privs"], THREE),
            ("added, no_new_privs, not permitted before", CAPABILITIES, between, 0),
            ("none, no_new_privs", "-all", between, 0),
            ("none, may escalate", "-all", ["env"], 0)):
        found = status_of([*BOUNDED, f"--bounding-set={bounding}", *extra])
        if not found:
            break
        (agent, *workers), here = found
        expect(agent["Eff"] == agent["Prm"] == expected and agent["Amb"] == 0, f"{what}: vitald has {agent}")
        expect(workers and all(w["Prm"] == 0 and w["nnp"] == "1" for w in workers), f"{what}: workers have {workers}")
        up = set(probes(here).values())
        expect(up == ({1} if expected else {0}), f"{what}: probes {probes(here)}")
        expect(("process_open_fds", ()) in here, f"{what}: /proc/self/fd cannot be read")
        print(f"{what}: effective {agent['Eff']:#x}, {len(workers)} workers with none, probes up {up}")
else:
    print("SKIPPED: setcap (libcap2-bin) is not installed: capabilities of the program's file were not tried")

# 4. Nothing of the host mounted: only what the kernel shows everybody, and it says so.
plain = run("unshare", "--mount", "--pid", "--fork", "sh", "-c", "mount -t proc proc /proc && exec \"$@\"", "sh", VITALD,
            "--once", *COMMON)
expect(view(samples(plain, "own PIDs")) == SEEN | {"processes": 0}, f"own PIDs: {view(parse(plain.stdout)[1])}")

for problem in problems:
    print(problem)
sys.exit(1 if problems else 0)
