#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a scrape costs: vitald, Debian's node_exporter with the same collectors, and the kernel alone, interleaved.

CPU time is the process's own clock (CLOCK_PROCESS_CPUTIME_ID of its pid, user and system, all threads) and that of
its worker processes, never wall time. Batches of the candidates alternate, so that whatever else the machine does
hits all of them; medians over the batches. hot: one scrape after the other; cold: one a second, as in life.
"""

import argparse
import collections
import glob
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import TOP, VITALD, free_port, need, probes, running, wait_for_probes  # noqa: E402
from measure import Exporter, goal, percentile, series_in, system_calls, text_of, wrk  # noqa: E402

COLLECTORS = ("cpu stat meminfo vmstat loadavg pressure diskstats filesystem netdev uname time textfile hwmon rapl "
              "powersupplyclass thermal_zone").split()


def floor_list():
    """Everything those collectors must ask the kernel for again in each scrape, on this host."""
    files = ["/proc/stat", "/proc/meminfo", "/proc/vmstat", "/proc/loadavg",
             *glob.glob("/proc/pressure/*"),
             *glob.glob("/sys/devices/system/clocksource/clocksource*/[ac]*_clocksource"),
             *glob.glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_count"),
             *glob.glob("/sys/class/hwmon/hwmon*/*_input"), *glob.glob("/sys/class/hwmon/hwmon*/*_alarm"),
             *glob.glob("/sys/class/powercap/*/energy_uj"), *glob.glob("/sys/class/power_supply/*/uevent"),
             *glob.glob("/sys/class/thermal/*/temp"), *glob.glob("/sys/class/thermal/*/cur_state")]
    folders = [d for d in ("/sys/class/hwmon", "/sys/class/powercap", "/sys/class/power_supply", "/sys/class/thermal")
               if os.path.isdir(d)]
    # As node_exporter's default patterns leave them.
    mounts = set()
    skip_type = re.compile(r"^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|"
                           r"mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs)$")
    skip_mount = re.compile(r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)")
    for line in pathlib.Path("/proc/1/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if not skip_type.match(kind) and not skip_mount.match(where):
            mounts.add(where)
    lines = ["r /proc/diskstats", "r /proc/1/mountinfo", *(f"f {p}" for p in files if os.access(p, os.R_OK)), *(f"d {p}" for p in folders),
             *(f"s {m}" for m in sorted(mounts)), "n", "u"]
    return lines


class Floor:
    def __init__(self, folder):
        program = f"{folder}/floor"
        subprocess.run(["cc", "-O2", "-o", program, str(TOP / "tests/bench/floor.c")], check=True)
        lines = floor_list()
        pathlib.Path(folder, "list").write_text("\n".join(lines) + "\n")
        self.size = len(lines)
        self.process = subprocess.Popen([program, f"{folder}/list"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def scrape(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline()) / count

    def stop(self):
        self.process.stdin.close()
        self.process.wait(5)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rounds", type=int, default=25, help="hot batches of each candidate")
parser.add_argument("--batch", type=int, default=40, help="scrapes in a batch")
parser.add_argument("--cold", type=int, default=15, help="cold scrapes of each candidate, one a second")
parser.add_argument("--load", type=int, default=2, help="seconds of 16 clients; 0: none")
parser.add_argument("--collectors", default=COLLECTORS, type=str.split,
                    help="names, separated by blanks; default: what each of the two has on by itself (the floor stays that of the sixteen)")
parser.add_argument("--traced", type=int, default=50, help="scrapes under strace, which counts system calls; 0: none")
arguments = parser.parse_args()
DEFAULT = arguments.collectors == ["default"]
FLAGS = [] if DEFAULT else ["--collector.disable-defaults", *(f"--collector.{c}" for c in arguments.collectors)]
# Those of vitald are measured against their own floors (./dev bench bpf); node_exporter has none.
PROBES = [f"--no-probe.{name}" for name in probes()]

PEER = "prometheus-node-exporter"
need(PEER, "cc", *(["wrk"] if arguments.load else []), *(["strace"] if arguments.traced else []))
ports = [free_port() for _ in range(3)]
ours_url, theirs_url, all_url = (f"http://127.0.0.1:{p}" for p in ports)

with tempfile.TemporaryDirectory() as folder, \
        running([PEER, f"--web.listen-address=127.0.0.1:{ports[1]}", "--web.disable-exporter-metrics", *FLAGS],
                theirs_url + "/metrics") as their_process, \
        running([VITALD, f"--web.listen-address=127.0.0.1:{ports[0]}", "--web.max-age=0", "--web.disable-exporter-metrics",
                 *FLAGS, *(PROBES if DEFAULT else [])], ours_url + "/metrics") as our_process:
    wait_for_probes(our_process, ours_url)
    floor = Floor(folder)
    exporters = {"vitald": Exporter(our_process.pid, ours_url), "node_exporter": Exporter(their_process.pid, theirs_url)}
    kinds = [(name, encoding) for name in exporters for encoding in ("identity", "gzip")]
    cpu, latency = collections.defaultdict(list), collections.defaultdict(list)
    size = {}
    for name, encoding in kinds:
        body, _ = exporters[name].one(encoding)
        size[name, encoding] = len(body)
        size[name, "series"] = series_in(body)
    idle_rss = {name: e.rss_kib() for name, e in exporters.items()}

    for _ in range(arguments.rounds):
        cpu["floor"].append(floor.scrape(arguments.batch))
        for kind in kinds:
            spent, took = exporters[kind[0]].scrape(kind[1], arguments.batch)
            cpu[kind].append(spent)
            latency[kind] += took
    cold = collections.defaultdict(list)
    for _ in range(arguments.cold):
        for what in ("floor", "vitald", "node_exporter"):
            time.sleep(1 / 3)
            cold[what].append(floor.scrape(1) if what == "floor" else exporters[what].scrape("gzip", 1)[0])
    rss = {name: e.rss_kib() for name, e in exporters.items()}
    load = {name: wrk(url, 16, arguments.load) for name, url in (("vitald", ours_url), ("node_exporter", theirs_url))
            if arguments.load}
    traced = {name: system_calls(e, arguments.traced) for name, e in exporters.items() if arguments.traced}

    # As users run it: all probes, the shipped rules, the agent's own metrics.
    rules = [f"--rules.file={r}" for r in sorted(glob.glob(f"{TOP}/deploy/rules/*.yaml"))]
    everyday, everyday_rss, starts = collections.defaultdict(list), {}, []
    for with_rules in (False, True):
        command = [VITALD, f"--web.listen-address=127.0.0.1:{ports[2]}", "--state.directory=", "--web.max-age=0",
                   *(rules if with_rules else [])]
        began = time.perf_counter_ns()
        with running(command, all_url + "/metrics", pause=0.002) as all_process:
            starts.append(time.perf_counter_ns() - began)
            wait_for_probes(all_process, all_url)
            users = {"vitald": Exporter(all_process.pid, all_url), "node_exporter": exporters["node_exporter"]}
            for _ in range(12):  # what starting needed is given back after ten seconds
                time.sleep(1)
                body, _ = users["vitald"].one("gzip")
            for _ in range(arguments.rounds if with_rules and DEFAULT else 0):
                for name, exporter in users.items():
                    everyday[name, "back to back"].append(exporter.scrape("identity", arguments.batch)[0])
                for _ in range(4):
                    for name, exporter in users.items():
                        time.sleep(0.05)
                        everyday[name, "50 ms apart"].append(exporter.scrape("identity", 1)[0])
            for _ in range(500):
                body, _ = users["vitald"].one("identity")
            everyday_rss[with_rules] = users["vitald"].rss_kib()
            all_series = series_in(body)
    floor.stop()

med = {kind: statistics.median(values) for kind, values in cpu.items()}
cold_med = {kind: statistics.median(values) for kind, values in cold.items()}
print(f"{arguments.rounds} batches of {arguments.batch} scrapes each, interleaved; floor: {floor.size} things a pass\n")
print(f"{'CPU per scrape, us':32} median (quartiles)   p50 / p99 latency ms   bytes  series")
print(f"{'kernel floor, kept fds':32}{text_of(cpu['floor'])}")
for name, encoding in kinds:
    took = latency[name, encoding]
    print(f"{name + (' gzip' if encoding == 'gzip' else ' plain'):32}{text_of(cpu[name, encoding]):22}"
          f"  {percentile(took, .5) / 1e6:6.2f} / {percentile(took, .99) / 1e6:.2f}"
          f"          {size[name, encoding]:7}  {size[name, 'series']:5}")
print("one gzip scrape a second:")
for what in ("floor", "vitald", "node_exporter"):
    print(f"{'  ' + what:32}{text_of(cold[what])}")
for name, (rate, p99) in load.items():
    print(f"16 clients, {name + ':':16} {rate:8.0f} scrapes/s, p99 {p99:.1f} ms")
for name, (calls, failed, kinds_of_calls) in traced.items():
    most = ", ".join(f"{n:.1f} {call}" for call, n in sorted(kinds_of_calls.items(), key=lambda kv: -kv[1])[:8])
    print(f"system calls a scrape, {name}: {calls:.0f}, of which {failed:.1f} fail ({most})")
print("\nRSS KiB, before and after the scrapes: " + ", ".join(f"{n} {idle_rss[n]} / {rss[n]}" for n in exporters))
print(f"vitald as ./dev run starts it, {all_series} series: RSS {everyday_rss[True]} KiB, without rules {everyday_rss[False]}; "
      f"start to first answer {' and '.join(f'{ns / 1e6:.0f}' for ns in starts)} ms")
for (name, what), values in everyday.items():
    print(f"{name + ' as users run it, ' + what:46}{text_of(values)}")

print("\nratios")
HOT = 0.05 if DEFAULT else 0.1
goal("vitald / node_exporter, plain", med["vitald", "identity"] / med["node_exporter", "identity"], HOT)
goal("vitald / node_exporter, gzip", med["vitald", "gzip"] / med["node_exporter", "gzip"], HOT)
goal("vitald / node_exporter, gzip, one a second", cold_med["vitald"] / cold_med["node_exporter"], 0.1)
if DEFAULT:
    goal("vitald / floor, one a second", cold_med["vitald"] / cold_med["floor"], 1.7)
    for what, limit in (("back to back", 1 / 25), ("50 ms apart", 1 / 18)):
        goal(f"with probes and rules / node_exporter, {what}",
             statistics.median(everyday["vitald", what]) / statistics.median(everyday["node_exporter", what]), limit)
    goal("start to first answer, ms", statistics.median(starts) / 1e6, 150)
    if load:
        goal("p99 ms with 16 clients", load["vitald"][1], 5)
    if traced:
        goal("system calls a scrape", traced["vitald"][0], 80)
else:
    goal("vitald plain / floor", med["vitald", "identity"] / med["floor"], 2)
goal("RSS MiB with all probes and rules", everyday_rss[True] / 1024, 8)
goal("RSS MiB with all probes", everyday_rss[False] / 1024, 6)
