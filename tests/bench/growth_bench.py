#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How the cost of a scrape grows with CPUs, disks and network interfaces: vitald beside Debian's node_exporter, with
what each has on by itself.

On synthetic hosts (tests/bench/synthetic.py), one dimension larger at a time, whose counters move between scrapes;
and on the running kernel in a network namespace with more and more veth interfaces. CPU time is the process's own
clock and its workers', batches of the two alternate, medians. The marginal cost is the line through smallest and
largest.
"""

import argparse
import collections
import ctypes
import os
import resource
import statistics
import subprocess
import tempfile
import time

import synthetic
from measure import Exporter, goal, percentile, series_in, system_calls  # sets the path to harness
from harness import VITALD, Process, answers, free_port, need, probes, wait_for

PEER = "prometheus-node-exporter"
SMALL = {"cpus": 8, "disks": 10, "links": 10}
SIZES = {"cpus": (8, 64, 512), "disks": (10, 100, 1000), "links": (10, 100, 1000)}
MANY = {"cpus": "CPUs", "disks": "disks", "links": "interfaces", "live links": "live interfaces"}
ONE = {"cpus": "CPU", "disks": "disk", "links": "interface", "live links": "interface"}
# Probes are of the running kernel, not of the synthetic one; ./dev bench bpf measures them.
OURS = [*(f"--no-probe.{name}" for name in probes()),
        "--web.max-age=0", "--web.disable-exporter-metrics", "--log.level=error"]
THEIRS = ["--web.disable-exporter-metrics", "--log.level=error"]
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--quick", action="store_true", help="a tenth of the scrapes; for a look, not for the record")
parser.add_argument("--dimension", choices=[*SIZES, "live"], action="append", help="only this one; repeatable")
parser.add_argument("--with", dest="more", default=[], type=str.split, help="collectors to switch on beside the default ones")
arguments = parser.parse_args()
ROUNDS = 2 if arguments.quick else 6
MOST, SECONDS = (4, 0.2) if arguments.quick else (25, 0.4)  # scrapes in a batch, and when it ends at the latest
WANTED = arguments.dimension or [*SIZES, "live"]


class Started:
    """One exporter, ready, and how long that took."""

    def __init__(self, argv, **kwargs):
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        began = time.monotonic()
        self.process = Process([argv[0], f"--web.listen-address=127.0.0.1:{port}", *argv[1:]], **kwargs)
        try:
            wait_for(f"{argv[0]} answering", 60, lambda: not self.process.alive() or answers(url + "/metrics", 30))
            assert self.process.alive(), self.process.output()
        except BaseException:
            self.process.stop()
            raise
        self.start_seconds = time.monotonic() - began
        self.exporter = Exporter(self.process.pid, url)

    def __enter__(self):
        return self.exporter

    def __exit__(self, *_):
        self.process.stop()


def measure(flags, tick):
    """{what: {"vitald": value, "node_exporter": value}}"""
    more = [f"--collector.{c}" for c in arguments.more]
    ours, theirs = Started([VITALD, *OURS, *flags["vitald"], *more]), Started([PEER, *THEIRS, *flags["node_exporter"], *more])
    with ours as our_exporter, theirs as their_exporter:
        exporters = {"vitald": our_exporter, "node_exporter": their_exporter}
        cpu, took = collections.defaultdict(list), collections.defaultdict(list)
        found = collections.defaultdict(dict)
        for name, started in (("vitald", ours), ("node_exporter", theirs)):
            found["start"][name] = started.start_seconds
        for name, exporter in exporters.items():
            for encoding in ("identity", "gzip"):
                body, _ = exporter.one(encoding)
                found["bytes", encoding][name] = len(body)
            found["series"][name] = series_in(body)
        for _ in range(ROUNDS):
            for name, exporter in exporters.items():
                for encoding in ("identity", "gzip"):
                    end, count, spent = time.monotonic() + SECONDS, 0, 0
                    while count < MOST and time.monotonic() < end:
                        tick()
                        before = exporter.cpu_ns()
                        took[name, encoding].append(exporter.one(encoding)[1])
                        spent += exporter.cpu_ns() - before
                        count += 1
                    cpu[name, encoding].append(spent / count)
        for name, exporter in exporters.items():
            for encoding in ("identity", "gzip"):
                found["us", encoding][name] = statistics.median(cpu[name, encoding]) / 1e3
            for p in (.5, .99):
                found["ms", p][name] = percentile(took[name, "identity"], p) / 1e6
            found["pss"][name] = exporter.pss_kib() / 1024
            found["descriptors"][name] = exporter.descriptors()
            found["calls"][name] = system_calls(exporter, 2)[0]
    return found


def print_heading():
    print(f"{'':22}{'':15}{'CPU us a scrape':>18}{'ms, plain':>14}{'':8}{'kB':>7}{'kB':>6}{'memory':>8}{'system':>8}{'files':>7}{'s to':>6}\n"
          f"{'':22}{'':15}{'plain':>9}{'gzip':>9}{'p50':>7}{'p99':>7}{'series':>8}{'plain':>7}{'gzip':>6}{'MiB':>8}{'calls':>8}{'open':>7}{'start':>6}")


def print_rows(label, found):
    for name in ("vitald", "node_exporter"):
        print(f"{label if name == 'vitald' else '':22}{name:15}{found['us', 'identity'][name]:9.0f}{found['us', 'gzip'][name]:9.0f}"
              f"{found['ms', .5][name]:7.2f}{found['ms', .99][name]:7.2f}{found['series'][name]:8}"
              f"{found['bytes', 'identity'][name] / 1e3:7.0f}{found['bytes', 'gzip'][name] / 1e3:6.0f}{found['pss'][name]:8.1f}"
              f"{found['calls'][name]:8.0f}{found['descriptors'][name]:7}{found['start'][name]:6.2f}")
    print(f"{'':22}{'ratio':15}{ratio(found, ('us', 'identity')):9.3f}{ratio(found, ('us', 'gzip')):9.3f}", flush=True)


def ratio(found, what):
    return found[what]["vitald"] / found[what]["node_exporter"]


def synthetic_flags(host):
    # Which would ask the running kernel whatever the paths say.
    both = [*host.flags(), "--no-collector.netdev.netlink"]
    return {"vitald": [*both, "--no-collector.arp.netlink"], "node_exporter": both}


def synthetic_host(parent, **sizes):
    return synthetic.Host(tempfile.mkdtemp(dir=parent), **{**SMALL, **sizes})


def few_descriptors(parent, limit=256):
    """Series of a large host that are missing when no more than `limit` files may be open."""
    host = synthetic_host(parent, cpus=64, disks=100, links=100)
    counts = []
    for most in (None, limit):
        lower = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))) if most else None
        with Started([VITALD, *OURS, *synthetic_flags(host)["vitald"]], preexec_fn=lower) as exporter:
            for _ in range(3):
                counts.append(series_in(exporter.one("identity")[0]))
    host.close()
    return max(counts) - min(counts)


def enter_network():
    """A network and a view of /sys of our own; false where that is not allowed."""
    if os.geteuid() != 0 or ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
        return False
    commands = (["mount", "--make-rprivate", "/"], ["mount", "-t", "sysfs", "sysfs", "/sys"], ["ip", "link", "set", "lo", "up"],
                ["ip", "link", "add", "p0", "type", "veth", "peer", "name", "q0"], ["ip", "link", "del", "p0"])
    return all(subprocess.run(c, capture_output=True).returncode == 0 for c in commands)


def add_links(first, end):
    lines = []
    for n in range(first // 2, end // 2):
        lines += [f"link add p{n} type veth peer name q{n}", f"link set p{n} up", f"link set q{n} up"]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True)


def main():
    need(PEER, "strace")
    results = collections.defaultdict(dict)
    print_heading()
    with tempfile.TemporaryDirectory() as parent:
        small = None
        for dimension, sizes in SIZES.items():
            if dimension not in WANTED:
                continue
            for size in sizes:
                if size == SMALL[dimension] and small:
                    results[dimension][size] = small  # the same host
                    continue
                host = synthetic_host(parent, **{dimension: size})
                results[dimension][size] = found = measure(synthetic_flags(host), host.tick)
                host.close()
                if size == SMALL[dimension]:
                    small = found
                print_rows(f"{size} {MANY[dimension]}" if size != SMALL[dimension] else "8 CPUs, 10 and 10", found)
        missing = few_descriptors(parent)
    if "live" in WANTED:
        if enter_network():
            have = 0
            for size in SIZES["links"]:
                add_links(have, size)
                have = size
                time.sleep(2 if size >= 1000 else 0.5)  # what the kernel announces of new links
                results["live links"][size] = found = measure({"vitald": [], "node_exporter": []}, lambda: None)
                print_rows(f"{size} {MANY['live links']}", found)
        else:
            print("no live links: needs root, namespaces and veth")

    print(f"\n{'for each one more':22}{'':15}{'us plain':>9}{'us gzip':>9}{'series':>8}{'KiB':>7}{'calls':>7}   ns a series, plain")
    marginal = {}
    for dimension, by_size in results.items():
        sizes = sorted(by_size)
        for name in ("vitald", "node_exporter"):
            slope = {what: (by_size[sizes[-1]][what][name] - by_size[sizes[0]][what][name]) / (sizes[-1] - sizes[0])
                     for what in by_size[sizes[0]]}
            marginal[dimension, name] = slope
            print(f"{'  ' + ('live ' if 'live' in dimension else '') + ONE[dimension] if name == 'vitald' else '':22}{name:15}"
                  f"{slope['us', 'identity']:9.2f}{slope['us', 'gzip']:9.2f}{slope['series']:8.1f}{slope['pss'] * 1024:7.1f}{slope['calls']:7.1f}"
                  f"   {slope['us', 'identity'] / slope['series'] * 1e3:6.0f}")

    print("\nratios")
    for dimension, by_size in results.items():
        largest = max(by_size)
        for encoding in ("identity", "gzip"):
            goal(f"CPU, {largest} {MANY[dimension]}, {'plain' if encoding == 'identity' else 'gzip'}, against node_exporter",
                 ratio(by_size[largest], ("us", encoding)), 0.1)
        sizes = sorted(by_size)
        steps = [(by_size[b]["us", "identity"]["vitald"] - by_size[a]["us", "identity"]["vitald"]) / (b - a)
                 for a, b in zip(sizes, sizes[1:])]
        goal(f"cost of one more {ONE[dimension]}, {sizes[1]} to {largest} against before", steps[1] / steps[0], 1.5)
    goal("series missing when 256 files may be open", missing, 0)


main()
