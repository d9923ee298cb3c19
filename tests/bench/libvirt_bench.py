#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""CPU per scrape and guest for libvirt's numbers: vitald (agent, worker and what libvirtd does for them) beside
Debian's libvirt exporter, in turn, on real guests. libvirt_bench.py [GUESTS]"""

import pathlib
import statistics
import sys

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "virt")]
from guests import can_run, children, cpu_seconds, define, domstats, enter_namespace, libvirtd, virsh  # noqa: E402
from harness import free_port, get, metrics, need, running, vitald, wait_for  # noqa: E402

ROUNDS, SCRAPES = 5, 20
FLAGS = ["--web.max-age=0", "--collector.disable-defaults", "--collector.libvirt"]


def rss_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def main():
    enter_namespace()
    need("prometheus-libvirt-exporter")
    guests = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    kind = "kvm" if can_run("kvm") else "qemu"
    port = free_port()
    exporter_url = f"http://127.0.0.1:{port}"
    with libvirtd() as daemon:
        for n in range(guests):
            define(f"bench-{n}", kind)
            virsh("start", f"bench-{n}")
        for n in range(guests):  # a firmware without a system to start runs in circles; paused, it leaves the CPU to us
            wait_for(f"bench-{n}", 60, lambda: domstats(f"bench-{n}")["block.0.rd.reqs"] > 0)
            virsh("suspend", f"bench-{n}")
        with vitald(*FLAGS, "--collector.libvirt.slow-interval=0") as (all_agent, all_url), \
             vitald(*FLAGS, "--collector.libvirt.slow-interval=1h") as (cheap_agent, cheap_url), \
             running(["prometheus-libvirt-exporter", f"--web.listen-address=127.0.0.1:{port}"],
                     exporter_url + "/metrics") as exporter:
            subjects = {
                "vitald, all groups": (all_url, lambda: [all_agent.pid, *children(all_agent.pid)]),
                "vitald, cheap groups": (cheap_url, lambda: [cheap_agent.pid, *children(cheap_agent.pid)]),
                "prometheus-libvirt-exporter": (exporter_url, lambda: [exporter.pid]),
            }
            for url, _ in subjects.values():
                wait_for("guests in the scrape", 20, lambda: any(
                    name == "libvirt_domain_block_stats_read_bytes_total" for name, _ in metrics(url)[1]))
            own, theirs = {s: [] for s in subjects}, {s: [] for s in subjects}
            for _ in range(ROUNDS):
                for subject, (url, pids) in subjects.items():
                    before = sum(map(cpu_seconds, pids())), cpu_seconds(daemon.process.pid)
                    for _ in range(SCRAPES):
                        get(url + "/metrics")
                    own[subject].append((sum(map(cpu_seconds, pids())) - before[0]) / SCRAPES * 1e6)
                    theirs[subject].append((cpu_seconds(daemon.process.pid) - before[1]) / SCRAPES * 1e6)
            print(f"{guests} {kind} guests, paused; CPU us per scrape, median of {ROUNDS} rounds of {SCRAPES}")
            print(f"{'':30}{'own':>8}{'libvirtd':>10}{'per guest':>11}{'series':>8}  RSS KiB")
            total = {}
            for subject, (url, pids) in subjects.items():
                mine, daemons = statistics.median(own[subject]), statistics.median(theirs[subject])
                total[subject] = mine + daemons
                count = sum(1 for name, _ in metrics(url)[1] if name.startswith("libvirt_"))
                print(f"{subject:30}{mine:8.0f}{daemons:10.0f}{(mine + daemons) / guests:11.0f}{count:8}  "
                      f"{' + '.join(str(rss_kib(p)) for p in pids())}")
            every, cheap, peer = total.values()
            for interval in (5, 15):
                calls = max(1, 15 // interval)
                mean = (every + (calls - 1) * cheap) / calls
                print(f"at one scrape every {interval} s: {mean / guests:.0f} us a guest, "
                      f"{peer / mean:.1f} times less than the exporter")


main()
